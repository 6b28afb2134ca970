"""A project of one's own: data, model, optimizer, callback and recipe, outside the package."""

import json

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow


def test_a_recipe_of_ones_own_trains_ones_own_parts(project):
    ended = project.run("+recipe=spirals", "args.num_train_epochs=20")
    rows = project.rows()
    assert rows[-1]["eval/accuracy"] > 0.75
    assert rows[0]["train/loss"] > rows[-2]["train/loss"]
    assert "eval/accuracy" in ended.out and "SineNet" in ended.out
    weights = load_file(project.last / "model" / "model.safetensors")
    assert set(weights) == {
        f"{layer}.{part}" for layer in ("inner", "middle", "outer") for part in ("weight", "bias")
    }


def test_one_word_makes_it_another_run(project):
    project.run(
        "+recipe=spirals", "optim=adamw", "optim.lr=1e-2", "args.num_train_epochs=1", "data.train.noise=0"
    )
    config = (project.last / "config.yaml").read_text()
    assert "torch.optim.AdamW" in config and "noise: 0" in config
    assert project.record()["choices"]["optim"] == "adamw"


def test_recipe_is_chosen_with_and_without_a_plus_and_overrides_stand_in_any_order(project):
    project.run("+recipe=spirals", "args.max_steps=5")
    project.run("args.max_steps=5", "recipe=spirals")
    first, second = project.runs
    assert project.record(first)["identity"] == project.record(second)["identity"]
    assert (first / "metrics.jsonl").read_text() == (second / "metrics.jsonl").read_text()


def test_a_module_outside_the_project_needs_to_be_allowed(shell, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "strangers.py").write_text(
        "import torch\n\nclass Net(torch.nn.Linear):\n    pass\n"
    )
    words = ["model._target_=strangers.Net", "~model.pretrained", "~model.config", "~model.trust_remote_code"]
    ended = shell("plan", *words, PYTHONPATH=str(tmp_path / "elsewhere"))
    assert ended.code == 2
    assert "strangers" in ended.err and "plugins" in ended.err


def test_predictions_are_written_row_by_row(project):
    project.run(
        "+recipe=spirals",
        "args.stages=[train,predict]",
        "args.eval_strategy=no",
        "args.max_steps=20",
        "+data.predict={_target_: spirals.Spirals, size: 45, noise: 0.01, seed: 3}",
    )
    rows = [json.loads(line) for line in (project.last / "predictions.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(45))
    assert all(row["prediction"] in (0, 1) and len(row["logits"]) == 2 for row in rows)


def test_a_sweep_runs_every_combination_and_ends_in_a_table(project):
    ended = project.run("-m", "+recipe=spirals", "args.max_steps=10", "optim.lr=1e-3,1e-2", "args.seed=1,2")
    assert len(project.runs) == 4
    for run in project.runs:
        assert project.record(run)["status"] == "finished"
    assert "optim.lr=0.001 args.seed=1" in ended.out and "4 jobs" in ended.out


def test_a_sweep_with_a_misspelt_axis_fails_before_the_first_job(project):
    ended = project("-m", "+recipe=spirals", "optim.lrr=1e-3,1e-2", f"args.output_dir={project.outputs}")
    assert ended.code == 2
    assert "optim.lrr" in ended.err and "optim.lr" in ended.err
    assert not project.runs


def test_what_the_terminal_shows_is_as_much_as_was_asked_for(project):
    words = ["+recipe=spirals", "data.train.size=20", "data.eval.size=5", "args.max_steps=1"]
    shown = [project.run(*words, f"args.log_level={level}").text for level in ("debug", "info")]
    assert ["stage 1/11" in text for text in shown] == [True, False]
    assert "stage 1/11" in (project.last / "train.log").read_text()
