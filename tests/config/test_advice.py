"""What is said of words that cannot be read: each leads to what works, and what it leads to does."""

from __future__ import annotations

import re

import pytest

from trainer_cli.cli import SWITCHES, VERBS
from trainer_cli.config import advice, schema
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.overrides import parse
from trainer_cli.config.places import options, roots

FLAGS = [*SWITCHES, "--config-dir", "--sort", "--output"]


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("--learning_rate", "3e-5", "it is written optim.lr=3e-5"),
        ("--learning-rate", "3e-5", "it is written optim.lr=3e-5"),
        ("--lr", "3e-5", "it is written optim.lr=3e-5"),
        ("--max_steps", "3", "it is written args.max_steps=3"),
        ("--max_steps", None, "it is written args.max_steps=VALUE"),
        ("--output_dir", "out", "it is written args.output_dir=out"),
        ("--gradient_checkpointing", None, "it is written args.gradient_checkpointing=true"),
        ("--do_train", None, "it is written args.stages=[train,eval]"),
        ("--fp16", None, "it is written args.precision=fp16"),
        ("--warmup_ratio", "0.1", "it is written scheduler.num_warmup_steps=0.1"),
        ("--label_smoothing_factor", "0.1", "it is written loss=cross_entropy loss.label_smoothing=0.1"),
        ("--optim", "adamw_torch_fused", "it is written optim=adamw"),
        ("--optimizer", "sgd", "it is written optim=sgd"),
        ("--lr_scheduler_type", "cosine", "it is written scheduler=cosine"),
        ("--report_to", "comet_ml", "it is written tracker=comet"),
        ("--resume_from_checkpoint", "x", "it lives in resume: resume=latest, a run, or a checkpoint's path"),
        ("--adam_beta1", "0.9", "it lives in optim.betas: the first of the two"),
        ("--disable_tqdm", None, "callbacks.progress=null removes the live view"),
        ("--epochs", "3", "it is written args.num_train_epochs=3"),
        ("--batch-size", "3", "it is written args.per_device_train_batch_size=3"),
        ("--nproc_per_node", "2", "it is written strategy=ddp strategy.num_processes=2"),
        ("--recipe", "glue", "it is written +recipe=glue"),
        ("--config-name", "glue", "it is written +recipe=glue"),
        ("--args.seed", "1", "overrides have no dashes: args.seed=1"),
        ("--push_to_hub", None, "nothing is pushed yet"),
        ("--fsdp", "full_shard", "models are not sharded yet"),
        ("--use_peft", None, "adapters (LoRA and others) are not there yet"),
        ("--config", "dir/f.yaml", "recipes/f.yaml is chosen by +recipe=f"),
        ("-c", "f.yaml", "recipes/f.yaml is chosen by +recipe=f"),
        ("--config-path", "x", "--config-dir DIR looks for configs/ and recipes/ in DIR"),
        ("--cfg", "job", "trainer-cli show"),
        ("--dry-run", None, "trainer-cli plan"),
        ("--hepl", None, "did you mean --help"),
        ("--JSON", None, "did you mean --json?"),
        ("--nonsense", None, "trainer-cli --help lists the flags"),
    ],
)
def test_a_flag_of_another_tool_leads_to_what_it_is_here(name: str, value: str | None, right: str) -> None:
    assert right in advice.of_flag(name, value, FLAGS)


@pytest.mark.parametrize("name", sorted({*advice.KEPT, *advice.HOMES, *advice.SHORT}))
def test_what_a_flag_leads_to_can_be_read(name: str) -> None:
    right = advice.of_flag(f"--{name}", "1", FLAGS)
    assert right and "--" not in right.replace("--config-dir", "").replace("--preflight", "")
    if right.startswith("it is written "):
        words = right.removeprefix("it is written ").split()
        assert parse(words)[1] == [] and all("=" in word for word in words), right


@pytest.mark.parametrize(
    ("word", "following", "right"),
    [
        ("fit", "", "trainer-cli train +recipe=NAME"),
        ("eval", "", "args.stages=[eval]"),
        ("predict", "", "args.stages=[predict]"),
        ("resume", "outputs/x", "resume=latest"),
        ("sweep", "", "-m sweeps"),
        ("push", "", "not there yet"),
        ("pln", "", "did you mean plan?"),
        ("RUNS", "", "did you mean runs"),
        ("recipes/t", "", "+recipe=t"),
        ("./recipes/deep/t.yaml", "", "+recipe=deep/t"),
        ("t.yml", "", "+recipe=t"),
        ("train.py", "", "a run takes no script"),
        ("args.json", "", "a run takes no script and no file"),
        ("args.max_steps", "3", "args.max_steps=3"),
        ("args.max_step", "3", "did you mean args.max_steps"),
        ("optim.lr", "", "optim.lr=VALUE"),
        ("learning_rate", "3e-5", "it is written optim.lr=3e-5"),
        ("recipe", "glue", "it is written +recipe=glue"),
        ("args.seed: 1", "", "with = in the place of the colon: args.seed=1"),
        ('{"args": {"seed": 1}}', "", "each field is a word of its own"),
        ("–config-dir", "x", "it has –: with a hyphen it is --config-dir"),
        ("—m", "", "it has —: with a hyphen it is -m"),
        ("glue", "", "a recipe is chosen by +recipe=glue"),
        ("+", "", "a field is set by KEY=VALUE"),
    ],
)
def test_a_bare_word_leads_to_what_was_meant(word: str, following: str, right: str) -> None:
    assert right in advice.of_word(word, following, VERBS)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("optim.betas[0]=0.8", "one item of a list cannot be set, but all of it: optim.betas=[…]"),
        ("args.seed=1,", "without the comma at its end: args.seed=1; -m args.seed=1,… sweeps over several"),
        ("args.seed = 1", "no blanks around =: args.seed=1"),
        ("args.seed==1", "one = is enough: args.seed=1"),
        ("args.stages=[train", "a bracket is not closed: args.stages=[train]"),
        ("x={a: 1", "a bracket is not closed: x={a: 1}"),
        ("run.name='abc", "a quote is not closed; twice for the shell: \"run.name='abc'\""),
        ("run.name=‘x’", "it has ‘: with straight quotes it is run.name='x'"),
        ("“args.seed=1”", "it has “: with straight quotes"),
        ("args.seed=\u00a01", "with an ordinary blank it is"),
        ("args.lr=1e–5", "with a hyphen it is args.lr=1e-5"),
        ("~/x", "~KEY takes a key away; a path is a value"),
        ("model.pretrained=~/x", "at the start of a word alone: model.pretrained=$HOME/x"),
        ("optim.lr=#", "in quotes, twice for the shell: \"optim.lr='#'\""),
        ("run.name=a=b", "in quotes, twice for the shell: \"run.name='a=b'\""),
        ("run.name=it's", "in quotes, twice for the shell: \"run.name='it\\'s'\""),
        ("args!seed=1", "a key is names with dots, as optim.lr is"),
        ("+args.seed", "write args.seed=VALUE to set it, or ~args.seed to remove it"),
    ],
)
def test_an_override_that_cannot_be_read_is_told_by_where_it_is_wrong(text: str, right: str) -> None:
    (problem,) = parse([text])[1]
    assert problem.what == f"cannot read the override {text!r}" and right in problem.right
    # What is to be typed between quotes for the shell is read as it is meant.
    for typed in re.findall(r'"([^"]+=.*)"$', problem.right):
        (override,), problems = parse([typed])
        assert not problems and str(override.value()).strip("'") in text.replace("‘", "'")


@pytest.mark.parametrize(
    ("word", "what", "right"),
    [
        ("optim.LR=1", "optim.LR: torch.optim.AdamW has no parameter LR", "did you mean optim.lr?"),
        ("Optim.lr=1", "there is no Optim", "did you mean optim?"),
        ("args.max-steps=3", "there is no args.max-steps", "did you mean args.max_steps?"),
        ("optim=AdamW", "there is no optim=AdamW", "did you mean optim=adamw?"),
        ("recipe=glue.yaml", "there is no recipe=glue.yaml", "without folder and ending: recipe=glue"),
        ("+recipe=recipes/lm", "there is no recipe=recipes/lm", "without folder and ending: recipe=lm"),
        ("recipe=sft", "there is no recipe=sft", "it is not there yet"),
        ("strategy=fsdp", "there is no strategy=fsdp", "it is not there yet: models are not sharded"),
        ("strategy=deepspeed", "there is no strategy=deepspeed", "it is not there yet"),
        ("model=seq2seq_lm", "there is no model=seq2seq_lm", "it is not there yet"),
        ("data=chat", "there is no data=chat", "it is not there yet"),
        ("adapter=lora", "there is no adapter", "adapters (LoRA and others) are not there yet"),
        ("+adapter=lora", "there is no adapter", "adapters (LoRA and others) are not there yet"),
        ("model.peft=lora", "has no parameter peft", "adapters (LoRA and others) are not there yet"),
        ("model.freeze=bert", "has no parameter freeze", "it is not there yet; optim.groups="),
        ("hub=push", "there is no hub", "nothing is pushed yet"),
        ("model=toy.Net", "there is no model=toy.Net", "named by model._target_=toy.Net"),
        ("resume=true", "resume is true", "resume=latest goes on with the newest run"),
        ("loss.class_weights=[1,2]", "has no parameter class_weights", "it belongs to loss=cross_entropy"),
        ("optim.momentum=0.9", "has no parameter momentum", "it belongs to optim="),
        ("epochs=3", "there is no epochs", "it is written args.num_train_epochs=VALUE"),
        ("lr=3", "there is no lr", "it lives in optim.lr"),
        ("args/seed=1", "there is no group args/seed", "a field is named with dots: args.seed"),
        ("optim.betas.0=1", "there is no optim.betas.0: optim.betas is a list", "optim.betas=VALUE sets all"),
        ("args.seed.x=1", "there is no args.seed.x: args.seed is a value", "args.seed=VALUE sets all"),
        ("~optim=adamw", "optim is no single value: not removed", "~optim removes all of it"),
        ("+=1", "+=1 names no key", "KEY=VALUE sets a field"),
        ("~", "~ names no key", "~KEY takes a key away"),
    ],
)
def test_a_key_or_option_that_there_is_not_leads_on(word: str, what: str, right: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(["data=glue", word])
    (problem,) = [problem for problem in caught.value.problems if what in problem.what]
    assert right in problem.right and problem.where == f"command line: {word}"


def test_what_is_to_come_has_not_come() -> None:
    there = {
        f"{group}={option}" for group in (*schema.GROUPS, "recipe") for option in options(group, roots())
    }
    assert not there & advice.TO_COME.keys() and not set(schema.ORDER) & advice.TO_COME.keys()
    assert not advice.VERBS.keys() & VERBS.keys()


def test_what_is_written_otherwise_is_a_key_or_a_group() -> None:
    config = compose(["data=glue", "strategy=ddp"], strict=False).config
    for key in advice.SHORT.values():
        section, _, name = key.split()[-1].lstrip("+").partition(".")
        assert not name or name in config[section], key
        assert name or section in (*schema.GROUPS, "recipe"), key
