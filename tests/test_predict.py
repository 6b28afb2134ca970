"""predictions.jsonl: what is written of each kind of output, in the order of the data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import CLASSES, Rows, built
from torch import Tensor, nn
from torch.utils.data import Dataset

from trainer_cli import runner
from trainer_cli.callbacks import Callback
from trainer_cli.config.errors import UserError
from trainer_cli.data.loader import EvalLoader
from trainer_cli.data.source import Labels
from trainer_cli.engine import Engine
from trainer_cli.loss import CrossEntropy, MeanSquaredError, ModelLoss
from trainer_cli.predict import join, predict, predictions

PREDICT = (
    "data.predict={_target_: small_run.Rows, size: 21, seed: 3}",
    "args.stages=[predict]",
    "args.eval_strategy=no",
    "args.per_device_eval_batch_size=4",
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine with 21 rows to predict."""
    with built(tmp_path, *PREDICT) as engine:
        yield engine


def written(run_dir: Path) -> list[dict[str, Any]]:
    def refuse(text: str) -> Any:
        raise AssertionError(f"{text} is not JSON")

    lines = (run_dir / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


class Gives(nn.Module):
    """Returns what a function makes of the input."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.make = make

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"logits": self.make(features)}


def of(engine: Engine, make: Callable[[Tensor], Tensor]) -> list[dict[str, Any]]:
    """The rows that are written of what the function makes of the inputs."""
    engine.module = Gives(make)
    predict(engine)
    return written(engine.run_dir)


def test_a_class_is_written_with_its_logits_in_the_order_of_the_data(engine: Engine) -> None:
    runner.run(engine)
    rows = written(engine.run_dir)
    features = Rows(21, 3).features.float()
    with torch.inference_mode():
        logits = engine.module(features)["logits"]
    assert [row["index"] for row in rows] == list(range(21))
    torch.testing.assert_close(torch.tensor([row["logits"] for row in rows]), logits)
    assert [row["prediction"] for row in rows] == logits.argmax(dim=1).tolist()
    assert {path.name for path in engine.run_dir.iterdir()} >= {"predictions.jsonl"}
    assert not list(engine.run_dir.glob(".predictions*"))


def test_a_class_goes_by_its_name_where_it_has_one(engine: Engine) -> None:
    engine.labels = Labels(("low", "middle", "high"))
    rows = of(engine, lambda features: features[:, :CLASSES])
    expected = [engine.labels.names[index] for index in Rows(21, 3).features[:, :CLASSES].argmax(dim=1)]
    assert [row["prediction"] for row in rows] == expected


def test_classes_that_exclude_each_other_have_probabilities(engine: Engine) -> None:
    rows = of(engine, lambda features: features[:, :CLASSES])
    logits = torch.tensor([row["logits"] for row in rows])
    torch.testing.assert_close(torch.tensor([row["probabilities"] for row in rows]), logits.softmax(dim=1))
    engine.loss = ModelLoss(shift_labels=False)  # which may be one of classes that do not
    assert set(of(engine, lambda features: features[:, :CLASSES])[0]) == {"index", "prediction", "logits"}
    engine.labels = Labels(("low", "middle", "high"))
    assert "probabilities" in of(engine, lambda features: features[:, :CLASSES])[0]


@pytest.mark.parametrize("dimensions", [1, 2])
def test_one_number_a_row_is_the_prediction(engine: Engine, dimensions: int) -> None:
    rows = of(engine, lambda features: features[:, 0] if dimensions == 1 else features[:, :1])
    expected = Rows(21, 3).features[:, 0].float().tolist()
    assert [row["prediction"] for row in rows] == expected
    assert rows[4] == {"index": 4, "prediction": expected[4], "logits": [expected[4]]}


@pytest.mark.parametrize("known_by", ["data", "loss"])
def test_several_numbers_a_row_are_no_classes(engine: Engine, known_by: str) -> None:
    if known_by == "data":
        engine.labels = Labels(())
    else:
        engine.loss = MeanSquaredError()
    rows = of(engine, lambda features: features[:, :3])
    expected = Rows(21, 3).features[:, :3].float().tolist()
    assert [row["prediction"] for row in rows] == expected


def test_what_is_not_finite_is_written_by_name(engine: Engine) -> None:
    rows = of(engine, lambda features: torch.full((len(features), 2), math.nan))
    assert rows[0]["logits"] == ["nan", "nan"]
    rows = of(engine, lambda features: torch.full((len(features), 1), math.inf))
    assert rows[0]["prediction"] == "inf"


class Tokens(Dataset[dict[str, Tensor]]):
    """Rows of one to five tokens, with a label for every second one."""

    def __init__(self, labelled: bool) -> None:
        self.labelled = labelled

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= len(self):
            raise IndexError
        features = (torch.arange(index % 5 + 1) + index) % 7
        return {"features": features, "labels": features} if self.labelled else {"features": features}


def padded(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    fill = {"features": 6, "labels": -100}
    batch = {
        name: nn.utils.rnn.pad_sequence(
            [row[name] for row in rows], batch_first=True, padding_value=fill[name]
        )
        for name in rows[0]
    }
    if "labels" in batch:
        batch["labels"] = batch["labels"].where(torch.arange(batch["labels"].shape[1]) % 2 == 0, -100)
    sizes = torch.tensor([len(row["features"]) for row in rows])
    batch["attention_mask"] = (torch.arange(batch["features"].shape[1]) < sizes[:, None]).long()
    return batch


def one_hot(features: Tensor) -> Tensor:
    return nn.functional.one_hot(features, 7).float()


def token_loader(engine: Engine, labelled: bool) -> EvalLoader:
    assert engine.predict_loader is not None
    return dataclasses.replace(engine.predict_loader, dataset=Tokens(labelled), collate=padded)


def test_each_token_but_padding_has_its_class(engine: Engine) -> None:
    engine.predict_loader = token_loader(engine, labelled=False)
    rows = of(engine, one_hot)
    expected = [row["features"].tolist() for row in Tokens(False)]
    assert rows == [{"index": index, "prediction": values} for index, values in enumerate(expected)]


def test_where_tokens_are_labelled_those_are_predicted(engine: Engine) -> None:
    engine.predict_loader = token_loader(engine, labelled=True)
    rows = of(engine, one_hot)
    assert [row["prediction"] for row in rows] == [row["features"][::2].tolist() for row in Tokens(True)]


def test_a_token_that_is_scored_against_the_next_one_is_predicted_there(engine: Engine) -> None:
    engine.loss = CrossEntropy(label_smoothing=0.0, class_weights=None, shift_labels=True)
    engine.predict_loader = token_loader(engine, labelled=True)
    rows = of(engine, one_hot)
    # Positions 2, 4, … have labels, and are predicted by those before them.
    expected = [row["features"][1:-1:2].tolist() for row in Tokens(True)]
    assert [row["prediction"] for row in rows] == expected


def test_tokens_without_a_mask_are_all_real(engine: Engine) -> None:
    loader = token_loader(engine, labelled=False)
    engine.predict_loader = dataclasses.replace(
        loader, collate=lambda rows: {"features": padded(rows)["features"]}, per_device=1
    )
    rows = of(engine, one_hot)
    assert [row["prediction"] for row in rows] == [row["features"].tolist() for row in Tokens(False)]


def test_classes_of_tokens_go_by_their_names(engine: Engine) -> None:
    engine.labels = Labels(tuple("abcdefg"))
    engine.predict_loader = token_loader(engine, labelled=False)
    assert of(engine, one_hot)[1]["prediction"] == ["b", "c"]


def test_more_dimensions_are_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="this model gives 3 dimensions a row"):
        of(engine, lambda features: features[:, :, None, None])


def test_a_model_without_logits_is_refused(engine: Engine) -> None:
    engine.module = nn.Module()
    engine.module.forward = lambda features: {"scores": features}  # type: ignore[assignment]
    with pytest.raises(UserError, match="needs a dict with logits from the model, which returns scores"):
        predict(engine)


@pytest.mark.parametrize("processes", [2, 3, 25])
def test_the_parts_of_several_processes_are_one_file(engine: Engine, processes: int, tmp_path: Path) -> None:
    predict(engine)
    alone = written(engine.run_dir)
    parts = [tmp_path / f"part-{rank}" for rank in range(processes)]
    for rank, part in enumerate(parts):
        assert engine.predict_loader is not None
        loader = dataclasses.replace(engine.predict_loader, rank=rank, world_size=processes)
        part.write_text("".join(json.dumps(row) + "\n" for row in predictions(engine, loader)))
    (tmp_path / "together").mkdir()
    join(parts, tmp_path / "together" / "predictions.jsonl")
    together = written(tmp_path / "together")
    assert [(row["index"], row["prediction"]) for row in together] == [
        (row["index"], row["prediction"]) for row in alone
    ]
    torch.testing.assert_close(
        torch.tensor([row["logits"] for row in together]), torch.tensor([row["logits"] for row in alone])
    )
    assert not any(part.exists() for part in parts)


def test_no_batch_is_read_before_the_one_at_hand_is_written(engine: Engine) -> None:
    class Counting(Rows):
        read = 0

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            self.read += 1
            return super().__getitem__(index)

    assert engine.predict_loader is not None
    dataset = Counting(21)
    rows = predictions(engine, dataclasses.replace(engine.predict_loader, dataset=dataset))
    for index, _ in enumerate(rows):
        assert dataset.read <= (index // 4 + 1) * 4


def test_callbacks_hear_where_the_predictions_are(engine: Engine) -> None:
    heard = []

    class Hears(Callback):
        def on_predict(self, engine: Engine, file: Path) -> None:
            heard.append((file.name, len(written(file.parent))))

    engine.callbacks["hears"] = Hears()
    engine.__post_init__()
    predict(engine)
    assert heard == [("predictions.jsonl", 21)]
