"""A small draw of the fault battery, another one for other code; `make faults` carries out all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from faults import damage, kills, payloads, planted, ranks, refusals, signals, starts, sweeps
from faults.bench import Bench, Part, carry_out_all, chosen

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


def drawn() -> int:
    """$FAULTS_SEED, else a number that all checkouts of the same files have in common."""
    tree = subprocess.run(["git", "rev-parse", "HEAD^{tree}"], cwd=REPOSITORY, capture_output=True, text=True)
    return int(os.environ.get("FAULTS_SEED") or int(tree.stdout or "0", 16) % 10**6)


SEED = drawn()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One for all parts, as they share the undisturbed runs."""
    with Bench(tmp_path_factory.mktemp("faults")) as bench:
        yield bench


def trials(bench: Bench, part: Part, numbers: Sequence[int]) -> None:
    """Each of them, told; fails with the commands that carry out again what went wrong."""
    print(f"FAULTS_SEED={SEED}")
    results = list(carry_out_all(bench, part, SEED, numbers))
    print("\n".join(result.line for result in results))
    wrong = [result for result in results if result.failed]
    again = [f"python -m tests.faults {one.part} --seed {SEED} --trial {one.number}" for one in wrong]
    assert not wrong, "\n".join([*again, *(result.line for result in wrong)])


def test_killed_runs_end_as_if_nothing_had_been(bench):
    trials(bench, kills.PART, chosen(SEED, kills.PART, 3))


def test_every_kind_of_damage_is_found(bench):
    trials(bench, damage.PART, [SEED % 3])


def test_damaged_runs_go_on_from_what_is_whole_or_are_refused(bench):
    """Every other scope of what is damaged."""
    first = 3 + SEED % 3 * len(damage.SCOPES)
    trials(bench, damage.PART, range(first + SEED // 3 % 2, first + len(damage.SCOPES), 2))


def test_stopped_runs_end_as_if_nothing_had_been(bench):
    trials(bench, signals.PART, chosen(SEED, signals.PART, 2))


def test_of_starts_at_the_same_instant_one_trains(bench):
    trials(bench, starts.PART, chosen(SEED, starts.PART, 1))


def test_where_a_process_of_several_is_killed_the_run_is_gone_on_with(bench):
    trials(bench, ranks.PART, chosen(SEED, ranks.PART, 1))


def test_killed_sweeps_train_no_job_twice_and_come_to_the_same(bench):
    trials(bench, sweeps.PART, chosen(SEED, sweeps.PART, 1))


def test_a_disk_that_refuses_loses_nothing(bench):
    if reason := refusals.cannot_refuse():
        pytest.skip(reason)
    trials(bench, refusals.PART, chosen(SEED, refusals.PART, 3))


def test_run_directories_of_others_write_nothing_elsewhere(bench):
    trials(bench, planted.PART, chosen(SEED, planted.PART, 4))


def test_full_disks_lose_nothing():
    command = [sys.executable, "-m", "tests.faults", "full-disk", "--number", "3", "--seed", str(SEED)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    print(done.stdout)
    if "full-disk is left out" in done.stdout:
        pytest.skip(done.stdout.splitlines()[0])
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_what_would_run_code_is_refused_by_every_way_in(bench):
    trials(bench, payloads.PART, chosen(SEED, payloads.PART, 5))
