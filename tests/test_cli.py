"""The command line itself: verb, flag or override, what is printed, and what is not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer_cli import __version__, cli
from trainer_cli.cli import CommandLine, parse
from trainer_cli.config.errors import UserError


def line(text: str) -> CommandLine:
    return parse(text.split())


def test_flags_and_overrides_stand_in_any_order() -> None:
    words = ["+recipe=glue", "optim.lr=1e-5,3e-5"]
    for text in (
        "-m +recipe=glue optim.lr=1e-5,3e-5 --traceback --config-dir mine",
        "+recipe=glue --config-dir=mine optim.lr=1e-5,3e-5 --multirun --traceback",
        "+recipe=glue --traceback -cd mine -m optim.lr=1e-5,3e-5",
    ):
        assert line(text) == CommandLine("run", words, ["mine"], multirun=True, traceback=True), text


def test_a_verb_is_the_first_word_between_flags_or_not() -> None:
    assert line("plan +recipe=glue") == CommandLine("plan", ["+recipe=glue"])
    assert line("--traceback plan +recipe=glue") == CommandLine("plan", ["+recipe=glue"], traceback=True)
    assert line("--config-dir plan show optim.lr") == CommandLine("show", ["optim.lr"], ["plan"])
    assert line("runs --json elsewhere") == CommandLine("runs", ["elsewhere"], json=True)
    assert line("run optim=sgd") == line("optim=sgd") == CommandLine("run", ["optim=sgd"])
    assert line("~callbacks.progress") == CommandLine("run", ["~callbacks.progress"])
    assert line("list") == CommandLine("list")
    assert line("verify --json a b") == CommandLine("verify", ["a", "b"], json=True)
    assert line("--resume verify optim=sgd") == CommandLine("verify", ["optim=sgd"], resume=True)
    assert line("plan optim=sgd --preflight") == CommandLine("plan", ["optim=sgd"], preflight=True)


def test_folders_of_configs_add_up() -> None:
    assert line("--config-dir a --config-dir=b +recipe=x").config_dirs == ["a", "b"]


def test_nothing_at_all_is_a_page_and_a_flag_alone_is_a_run() -> None:
    assert parse([]) == CommandLine("welcome")
    assert line("--traceback").verb == "run"
    assert line("--help").help and line("-h").help and line("plan --help").help
    assert line("--version").version
    assert line("help").help and line("version").version and line("help plan").help


def test_train_is_a_run() -> None:
    assert line("train -m +recipe=glue optim.lr=1,2") == line("-m +recipe=glue optim.lr=1,2")


@pytest.mark.parametrize(
    ("text", "what", "right"),
    [
        ("--hepl", "there is no flag --hepl", "did you mean --help"),
        ("+recipe=glue --multi-run", "there is no flag --multi-run", "did you mean --multirun?"),
        ("--learning_rate=1", "there is no flag --learning_rate", "it is written optim.lr=1"),
        ("--nonsense=1", "there is no flag --nonsense", "trainer-cli --help lists the flags"),
        ("+recipe=glue --config-dir", "--config-dir needs a directory", "--config-dir DIR"),
        ("pln +recipe=glue", "pln is neither a verb nor KEY=VALUE", "did you mean plan?"),
        ("glue", "glue is neither a verb nor KEY=VALUE", "+recipe=glue"),
        ("plan glue", "glue is neither a verb nor KEY=VALUE", "+recipe=glue"),
        ("+recipe=glue --resume", "--resume is a flag of verify", "trainer-cli verify --resume …"),
        ("verify --preflight x", "--preflight is a flag of plan", "trainer-cli plan --preflight …"),
        ("verify --resume glue", "glue is neither a verb nor KEY=VALUE", "+recipe=glue"),
        ("report x --sort age", "--sort is a flag of runs", "trainer-cli runs --sort …"),
        ("rerun x --json", "--json is a flag of runs, show, compare, verify, plan", "runs --json …"),
        ("runs --sort", "--sort needs a value", "trainer-cli --help"),
        ("compare x --output=y", "--output is a flag of report", "trainer-cli report --output …"),
        ("+recipe=glue plan", "the verb plan stands after an override", "trainer-cli plan …"),
    ],
)
def test_what_is_none_of_them_is_refused_with_the_nearest(text: str, what: str, right: str) -> None:
    with pytest.raises(UserError) as caught:
        line(text)
    (problem,) = caught.value.problems
    assert problem.what == what and right in problem.right


def test_all_flags_of_another_tool_come_in_one_report_with_what_they_are_here() -> None:
    with pytest.raises(UserError) as caught:
        line("--learning_rate 3e-5 --bf16 --model_name_or_path x/y --num_train_epochs=2 +recipe=glue")
    assert [(problem.what, problem.right) for problem in caught.value.problems] == [
        ("there is no flag --learning_rate", "it is written optim.lr=3e-5"),
        ("there is no flag --bf16", "it is written args.precision=bf16"),
        ("there is no flag --model_name_or_path", "it is written model.pretrained=x/y"),
        ("there is no flag --num_train_epochs", "it is written args.num_train_epochs=2"),
    ]


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (["args.seed", "=1"], [("args.seed is neither a verb nor KEY=VALUE", "args.seed=1")]),
        (["args.seed", "=", "1"], [("args.seed is neither a verb nor KEY=VALUE", "args.seed=VALUE")]),
        (["args.seed=", "1"], [("args.seed= 1 is two words", "no blanks around =: args.seed=1")]),
        (["args.seed", "1"], [("args.seed is neither a verb nor KEY=VALUE", "args.seed=1")]),
        (["args.seed:", "1"], [("args.seed: is neither a verb nor KEY=VALUE", "args.seed=1")]),
        (["=1"], [("=1 is neither a verb nor KEY=VALUE", "no blanks around =")]),
        ([""], [("'' is neither a verb nor KEY=VALUE", "KEY=VALUE")]),
        (
            ["fit", "optim=sgd", "recipes/t.yaml"],
            [
                ("fit is neither a verb nor KEY=VALUE", "trainer-cli train"),
                ("recipes/t.yaml is neither a verb nor KEY=VALUE", "+recipe=t"),
            ],
        ),
        (["optim=sgd", "train"], [("the verb train stands after an override", "trainer-cli train …")]),
    ],
    ids=str,
)
def test_each_bare_word_is_told_once(words: list[str], problems: list[tuple[str, str]]) -> None:
    with pytest.raises(UserError) as caught:
        parse(words)
    assert [problem.what for problem in caught.value.problems] == [what for what, _ in problems]
    for problem, (_, right) in zip(caught.value.problems, problems, strict=True):
        assert right in problem.right


def test_main_answers_with_a_block_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--hepl"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == "error: there is no flag --hepl\n  did you mean --help or --plot?\n"
    assert cli.main(["--hepl", "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_verbs_that_take_one_word_take_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "optim", "model"]) == 2
    assert "list takes one word, not 2: optim model" in capsys.readouterr().err
    assert cli.main(["show", "optim.lr", "args.seed"]) == 2
    assert "show takes one field, not 2" in capsys.readouterr().err
    assert cli.main(["runs", "a", "b"]) == 2


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("show optim.lr --json", "show prints JSON of a run alone"),
        ("plan --json", "--json is a flag of plan -m"),
        ("plan --measure", "--measure is a flag of plan -m"),
        ("runs . --json --plot", "runs prints JSON or draws curves, not both"),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(
    text: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(text.split()) == 2
    assert capsys.readouterr().err.startswith(f"error: {what}\n")


def test_the_help_names_every_verb_and_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--help"]) == 0
    page = capsys.readouterr().out
    for name in (
        *cli.VERBS,
        "--multirun",
        "-m",
        "--config-dir",
        "--json",
        "--resume",
        "--preflight",
        "--measure",
        "--sort",
        "--plot",
        "--output",
        "--traceback",
    ):
        assert name in page or name in ("run", "welcome"), name
    assert "hydra" not in page.lower()
    assert max(map(len, page.splitlines())) <= 80


def test_the_first_page_has_examples_and_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    page = capsys.readouterr().out
    assert page.count("trainer-cli +recipe=") >= 3
    for recipe in ("glue", "imdb", "lm"):
        assert f"\n  {recipe} " in page
    assert "trainer-cli --help" in page


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"trainer-cli {__version__}\n"


HEAVY = ("torch", "numpy", "transformers", "datasets", "accelerate", "pandas", "scipy")


def answer(folder: Path, *words: str) -> tuple[int, str, str, set[str]]:
    """Exit code, output, error and the heavy libraries that were imported."""
    code = (
        "import sys; from trainer_cli.cli import main; code = main(); "
        f"print('imported', *set({HEAVY}) & set(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True)
    err, _, imported = done.stderr.rpartition("imported")
    return done.returncode, done.stdout, err, set(imported.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (["--help"], 0, "Exit codes"),
        (["--version"], 0, __version__),
        ([], 0, "imdb"),
        (["list"], 0, "sequence_classification"),
        (["list", "optim"], 0, "adamw"),
        (["show"], 0, "args.per_device_train_batch_size"),
        (["show", "optim.lr", "+recipe=glue"], 0, "recipes/glue.yaml"),
        (["show", "data.task", "+recipe=glue"], 0, "sst2"),
        (["+recipe=glue", "optim.lrr=1"], 2, "did you mean optim.lr?"),
        (["+recipe=glu"], 2, "did you mean recipe=glue?"),
        (["-m", "+recipe=glue", "optim.lrr=1,2"], 2, "did you mean optim.lr?"),
        (["plan", "+recipe=glue", "args.seed=x"], 2, "a whole number >= 0"),
        (["+recipe=glue", "resume=latest"], 2, "no run below outputs"),
        (["runs", "."], 0, "there are no runs"),
        (["import-args", "/dev/null"], 0, "transformers' default"),
    ],
    ids=str,
)
def test_what_needs_no_torch_imports_none(tmp_path: Path, words: list[str], code: int, shown: str) -> None:
    ended, out, err, imported = answer(tmp_path, *words)
    assert ended == code, err
    assert shown in (out if code == 0 else err)
    assert not imported
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise there")
@pytest.mark.parametrize("words", [["--help"], ["list"], ["show"], ["runs", ".", "--json"]], ids=" ".join)
def test_a_reader_that_has_gone_is_no_error(tmp_path: Path, words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "trainer_cli", *words]
    done = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
