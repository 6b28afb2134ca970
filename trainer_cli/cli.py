"""The command line: verbs and flags in, an exit code out; torch is imported only where a verb needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from traceback import format_exception

from trainer_cli import __version__
from trainer_cli.config.errors import Problem, RunFailed, UserError
from trainer_cli.config.printable import say
from trainer_cli.config.secrets import hide_words, masked

HELP = """\
trainer-cli trains, evaluates and checkpoints PyTorch models from composed YAML.

  trainer-cli +recipe=glue optim=adamw                   a run
  trainer-cli +recipe=glue optim.lr=3e-5 args.seed=7     any field, overridden
  trainer-cli -m +recipe=glue optim.lr=1e-5,3e-5 args.seed=1,2   a sweep
  trainer-cli +recipe=glue resume=latest                 go on where it stopped

Verbs, each with the overrides of a run:
  plan               what would run, and whether it can; trains nothing
  list [GROUP]       recipes, and the options of each group
  show [KEY]         value and meaning of a field, and what set it
  import-args FILE   transformers' TrainingArguments (JSON, YAML) as a recipe

Verbs on runs, each a directory or an id:
  runs [DIR] [KEY=VALUE...]   the runs below a directory (outputs); the
                     leaderboard of a sweep
  show RUN           what a run is, and how it went
  compare RUN RUN    what differs in configuration, code, packages, results
  report RUN...      a page with their curves: report.html
  rerun RUN          the same run again, from its record
  verify RUN         whether its checkpoints are whole

Flags, anywhere on the line:
  -m, --multirun       a run for each value: optim.lr=1e-5,3e-5 args.seed=1,2,3
  --config-dir DIR     look for configs/ and recipes/ in DIR too
  --json               runs, show RUN, compare, verify, plan -m: print JSON
  --sort KEY           runs: by a column or field; --sort=-KEY: greatest first
  --plot               runs RUN: its curves in the terminal
  --output FILE        report: where the page goes
  --measure            plan -m: time a few updates of each kind of job
  --preflight          plan: then try each part once, from an update to a reload
  --resume             verify: is a run of these overrides, stopped and resumed,
                       equal to one that was not?
  --traceback          show where an error came from
  --version, --help

Exit codes: 0 done, 1 the run failed, 2 the configuration or input is wrong,
130, 143 and 138 ended by SIGINT, SIGTERM or SIGUSR1, with a checkpoint written.
"""


@dataclass
class CommandLine:
    """What the user typed: a verb, its words, and the flags."""

    verb: str
    words: list[str] = field(default_factory=list)
    config_dirs: list[str] = field(default_factory=list)
    multirun: bool = False
    json: bool = False
    sort: str | None = None
    output: str | None = None
    plot: bool = False
    measure: bool = False
    preflight: bool = False
    resume: bool = False
    traceback: bool = False
    help: bool = False
    version: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    traceback = "--traceback" in arguments
    try:
        arguments = hide_words(arguments)
        code = answer(parse(arguments), arguments)
        sys.stdout.flush()  # while a closed pipe can still be answered
        return code
    except UserError as error:
        way = "".join(format_exception(error)) if traceback else ""
        say(way + error.block())
        return 1 if isinstance(error, RunFailed) else 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`trainer-cli --help | head`): there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None or traceback:
            raise
        print(masked(f"error: {error.filename}: {error.strerror}"), file=sys.stderr)
        return 1


def answer(line: CommandLine, arguments: Sequence[str]) -> int:
    """Do what the line asks for; returns the exit code."""
    if line.version:
        print(f"trainer-cli {__version__}")
    elif line.help:
        print(HELP, end="")
    else:
        return VERBS[line.verb](line, arguments)
    return 0


def parse(arguments: Sequence[str]) -> CommandLine:
    """Verb, flags and overrides, in whatever order they stand; raises UserError for an unknown flag."""
    line = CommandLine("run")
    rest = list(arguments)
    words: list[str] = []
    unknown: list[tuple[str, str | None]] = []
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in SWITCHES:
            setattr(line, SWITCHES[word], True)
        elif name in ("--config-dir", "-cd"):
            if not equals and not rest:
                raise UserError("--config-dir needs a directory", right="--config-dir DIR")
            line.config_dirs.append(given(name, value if equals else rest.pop(0)))
        elif name in ("--sort", "--output"):
            if not equals and not rest:
                raise UserError(f"{name} needs a value", right="trainer-cli --help lists the flags")
            setattr(line, name[2:], given(name, value if equals else rest.pop(0)))
        elif word.startswith("-"):
            follows = rest and not rest[0].startswith("-") and "=" not in rest[0] and rest[0] not in VERBS
            unknown.append((name, value if equals else rest.pop(0) if follows else None))
        else:
            words.append(word)
    if unknown:
        raise UserError.many([unknown_flag(*flag) for flag in unknown])
    first = words[0] if words else ""
    if first in ("help", "version"):
        setattr(line, first, True)
    elif first in ALIASES or first in VERBS:
        line.verb = ALIASES.get(first, first)
        del words[0]
    elif not words and not arguments:
        line.verb = "welcome"
    line.words = words
    if line.help or line.version:
        return line
    for flag, verbs in VERBS_OF.items():
        if getattr(line, flag) and line.verb not in verbs:
            right = f"trainer-cli {verbs[0]} --{flag} …"
            if flag == "resume":
                right = f"resume=latest goes on where the newest run stopped; {right} tries whether one could"
            raise UserError(f"--{flag} is a flag of {', '.join(verbs)}", right=right)
    if line.verb in ("run", "plan") or line.resume:
        refuse_bare_words(words)
    line.words = [given("a word", word) for word in words]
    return line


def given(name: str, text: str) -> str:
    """The text; raises UserError where it is empty, which is no place and no name."""
    if not text.strip():
        from trainer_cli.config.naming import UNSET

        raise UserError(f"{name} of the command line is empty text", right=f"{UNSET} leave it out, or set it")
    return text


VERBS_OF = {
    "json": ("runs", "show", "compare", "verify", "plan"),
    "resume": ("verify",),
    "preflight": ("plan",),
    "measure": ("plan",),
    "sort": ("runs",),
    "plot": ("runs",),
    "output": ("report",),
}
"""The verbs that have a flag, where not all do."""


SWITCHES = {
    "-m": "multirun",
    "--multirun": "multirun",
    "--json": "json",
    "--plot": "plot",
    "--measure": "measure",
    "--preflight": "preflight",
    "--resume": "resume",
    "--traceback": "traceback",
    "-h": "help",
    "--help": "help",
    "--version": "version",
}
"""The flags without a value, and the field that each one sets."""

ALIASES = {"train": "run"}
"""Verbs by another name."""


def unknown_flag(name: str, value: str | None) -> Problem:
    """The problem of a flag that there is not, with what it is here if it is another tool's."""
    from trainer_cli.config.advice import of_flag

    right = of_flag(name, value, [*SWITCHES, "--config-dir", "--sort", "--output"])
    return Problem(f"there is no flag {name}", right=right)


def refuse_bare_words(words: Sequence[str]) -> None:
    """A run takes overrides alone; a bare word is a misspelt verb, or a recipe or value without its key."""
    problems = []
    before = ""
    for word, following in zip(words, [*words[1:], ""]):
        is_bare = ("=" not in word or word.startswith("=")) and not word.startswith("~")
        if is_bare and not before:
            problems.append(bare_word(word, following))
        elif is_bare and before.find("=") == len(before) - 1 > 0:
            problems.append(
                Problem(f"{before} {word} is two words", right=f"no blanks around =: {before}{word}")
            )
        before = word if is_bare or word.endswith("=") else ""
    if problems:
        raise UserError.many(problems)


def bare_word(word: str, following: str) -> Problem:
    """The problem of a word that is neither a verb nor an override, with what was probably meant."""
    from trainer_cli.config.advice import of_word

    if word in VERBS or word in ALIASES:
        return Problem(f"the verb {word} stands after an override", right=f"trainer-cli {word} …")
    said = word if word.strip() else f"'{word}'"
    return Problem(f"{said} is neither a verb nor KEY=VALUE", right=of_word(word, following, VERBS))


def welcome(line: CommandLine, _: Sequence[str]) -> int:
    """The page that `trainer-cli` alone prints."""
    from trainer_cli.listing import print_options

    print("\n".join(HELP.splitlines()[:6]) + "\n")
    print_options("recipe", line.config_dirs)
    print("\ntrainer-cli --help has the verbs and flags, trainer-cli show +recipe=glue all fields of a run.")
    return 0


def run(line: CommandLine, argv: Sequence[str]) -> int:
    """Train and evaluate, as the configuration says."""
    from trainer_cli import prepare, start
    from trainer_cli.sweep.run import run_sweep

    if line.multirun:
        return run_sweep(line.words, line.config_dirs, argv, line.traceback)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return start.execute_under_launcher(line.words, line.config_dirs, argv, line.traceback)
    return start.carry_out(lambda: prepare.prepare(line.words, line.config_dirs, argv), line.traceback)


def plan(line: CommandLine, _: Sequence[str]) -> int:
    """What would run, and whether it can."""
    if line.multirun:
        from trainer_cli.sweep.plan import print_sweep_plan

        return print_sweep_plan(line.words, line.config_dirs, line.measure, line.json)
    for flag in ("measure", "json"):
        if getattr(line, flag):
            raise UserError(f"--{flag} is a flag of plan -m", right=f"trainer-cli plan -m --{flag} …")
    from trainer_cli.plan import print_plan

    return print_plan(line.words, line.config_dirs, line.preflight, line.traceback)


def list_options(line: CommandLine, _: Sequence[str]) -> int:
    """Recipes and options, with a line on each."""
    from trainer_cli.listing import print_options

    print_options(one_word(line), line.config_dirs)
    return 0


def show(line: CommandLine, _: Sequence[str]) -> int:
    """A field's value, type, meaning and origin; or a run."""
    from trainer_cli.listing import print_field
    from trainer_cli.runs.show import is_run, print_run

    if len(line.words) == 1 and is_run(line.words[0]):
        print_run(line.words[0], line.json)
    elif line.json:
        raise UserError("show prints JSON of a run alone", right="trainer-cli show RUN --json")
    else:
        print_field(line.words, line.config_dirs)
    return 0


def runs(line: CommandLine, _: Sequence[str]) -> int:
    """The table of runs, the leaderboard of a sweep, or a run's curves."""
    from trainer_cli.runs.listing import print_runs

    print_runs(line.words, line.sort, line.json, line.plot)
    return 0


def compare(line: CommandLine, _: Sequence[str]) -> int:
    """What differs between runs."""
    from trainer_cli.runs.compare import print_comparison

    print_comparison(line.words, line.json)
    return 0


def report(line: CommandLine, _: Sequence[str]) -> int:
    """A page of plots."""
    from trainer_cli.report.page import write_report

    say(str(write_report(line.words, line.output)), sys.stdout)
    return 0


def rerun(line: CommandLine, argv: Sequence[str]) -> int:
    """The same run again."""
    from trainer_cli.rerun import run_again

    return run_again(line.words, line.config_dirs, argv, line.traceback)


def verify(line: CommandLine, _: Sequence[str]) -> int:
    """Checkpoints' checksums; or whether the run of these overrides can be stopped."""
    if line.resume:
        from trainer_cli.self_test import verify_resume

        return verify_resume(line.words, line.config_dirs)
    from trainer_cli.verify import verify_checkpoints

    return verify_checkpoints(line.words, line.json)


def import_args(line: CommandLine, _: Sequence[str]) -> int:
    """A recipe from the arguments of transformers' Trainer."""
    from trainer_cli.import_args import print_recipe

    file = one_word(line)
    if file is None:
        raise UserError("import-args needs a file", right="trainer-cli import-args training_args.json")
    return print_recipe(file, line.config_dirs)


def one_word(line: CommandLine) -> str | None:
    """The word that the verb takes, if it was given; raises UserError for several."""
    if len(line.words) > 1:
        raise UserError(f"{line.verb} takes one word, not {len(line.words)}: {' '.join(line.words)}")
    return line.words[0] if line.words else None


VERBS: dict[str, Callable[[CommandLine, Sequence[str]], int]] = {
    "run": run,
    "plan": plan,
    "list": list_options,
    "show": show,
    "runs": runs,
    "compare": compare,
    "report": report,
    "rerun": rerun,
    "verify": verify,
    "import-args": import_args,
    "welcome": welcome,
}
