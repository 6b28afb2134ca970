"""A run again, from its own record."""

import pytest

pytestmark = pytest.mark.slow

WORDS = ["+recipe=spirals", "args.max_steps=6", "args.logging_steps=2", "args.eval_strategy=steps"]


def test_a_run_comes_to_the_same_again(project):
    # Its rows have the numbers that are others each time, too: speed and memory.
    project.run(*WORDS, "callbacks=monitor")
    first = project.last
    again = project("rerun", str(first), "--traceback")
    assert again.code == 0, again.text
    assert f"running {first} again (finished)" in again.err
    lines = [line.strip() for line in again.out.splitlines()]
    results = [line for line in lines if line.startswith("eval/")]
    assert len(results) == 2 and all(line.endswith("equal to the last bit") for line in results)
    assert lines[-1] == f"all rows of metrics.jsonl are equal: {len(project.rows(first))}"
    second = project.record()
    assert (second["rerun_of"], second["status"]) == (first.name, "finished") and len(project.runs) == 2
    assert second["identity"] == project.record(first)["identity"]

    other = project("rerun", str(first), "optim.lr=0.01")
    assert other.code == 0 and "optim.lr" in other.err and "0.001 → 0.01" in other.err
    assert " then, " in other.out and "the rows differ from the first on; at step 2 " in other.out


def test_so_does_one_of_several_processes(project):
    project.run(*WORDS, "strategy=ddp", "strategy.num_processes=2", "args.use_cpu=true")
    again = project("rerun", str(project.last))
    assert again.code == 0, again.text
    assert again.out.count("equal to the last bit") == 2
    assert "all rows of metrics.jsonl are equal" in again.out


def test_a_job_of_a_sweep_is_a_run_of_its_own(project):
    project.run("-m", *WORDS, "args.seed=1,2")
    job = next(run for run in project.runs if project.record(run)["seed"] == 2)
    again = project("rerun", str(job))
    assert again.code == 0, again.text
    assert again.out.count("equal to the last bit") == 2
    (new,) = (run for run in project.runs if "rerun_of" in project.record(run))
    record = project.record(new)
    assert (record["rerun_of"], record["seed"]) == (job.name, 2) and "sweep" not in record
    assert new.parent == project.outputs / "spirals"


def test_one_that_is_refused_leaves_nothing(project):
    project.run(*WORDS)
    refused = project("rerun", str(project.last), "optim.lrr=1")
    assert refused.code == 2 and "optim.lr" in refused.err and len(project.runs) == 1
