"""The events of a run, and the state that a callback keeps over a resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from trainer_cli.data.loader import EvalLoader, GlobalBatch
    from trainer_cli.engine import Engine


class Callback:
    """Called at each event with the engine; a subclass overrides the events that it is for.

    Every process has its own; `engine.strategy.is_main` tells which one may write and speak. To end training,
    set `engine.state.stop` to the reason, in all processes alike: the loop ends after the step, evaluation
    and save at hand.
    """

    def on_begin(self, engine: Engine) -> None:
        """Before the first stage of the run."""

    def on_resume(self, engine: Engine) -> None:
        """Before the first stage of a run that goes on from a checkpoint, with all its state in place."""

    def on_train_begin(self, engine: Engine) -> None:
        """Before the first update of this start."""

    def on_epoch_begin(self, engine: Engine) -> None:
        """Before a pass over the data, or the rest of one."""

    def on_step_begin(self, engine: Engine, batch: GlobalBatch) -> None:
        """Before an update on the batch, of which this process has its micro-batches.

        Where the update is not made, as its gradients are not finite, no event follows.
        """

    def on_backward_begin(self, engine: Engine, loss: Tensor) -> None:
        """Before the backward pass of a micro-batch; `loss` is the sum over its items.

        Where memory runs out and `args.auto_find_batch_size` makes micro-batches smaller, those of this step
        come once more.
        """

    def on_backward_end(self, engine: Engine) -> None:
        """After the backward pass of a micro-batch, with its share in the gradients."""

    def on_optimizer_step_begin(self, engine: Engine) -> None:
        """Before the optimizer's step, with the gradients clipped."""

    def on_optimizer_step_end(self, engine: Engine) -> None:
        """After the optimizer's step, with the gradients still there."""

    def on_step_end(self, engine: Engine) -> None:
        """After an update that was made; `state.step` counts it."""

    def on_log(self, engine: Engine, row: Mapping[str, Any]) -> None:
        """After a row was written to metrics.jsonl."""

    def on_evaluate_begin(self, engine: Engine, loader: EvalLoader) -> None:
        """Before an evaluation or prediction over the loader's batches."""

    def on_evaluate_step(self, engine: Engine) -> None:
        """After a batch of evaluation or prediction."""

    def on_evaluate(self, engine: Engine, row: Mapping[str, Any]) -> None:
        """After all evaluation sets; `row` has the metrics by their logged names."""

    def on_predict(self, engine: Engine, file: Path) -> None:
        """After all predictions were written to the file."""

    def on_save(self, engine: Engine, checkpoint: Path) -> None:
        """After a checkpoint was committed: at a later step where it is written in the background."""

    def on_epoch_end(self, engine: Engine) -> None:
        """After a whole pass over the data, before what is due at its end."""

    def on_exception(self, engine: Engine, error: BaseException) -> None:
        """When an error ends the run, before `on_end`; the error goes on its way afterwards."""

    def on_train_end(self, engine: Engine) -> None:
        """After the last update, before the model that is kept is put in place."""

    def on_end(self, engine: Engine) -> None:
        """When the run ends, however it ends."""

    def measure(self, engine: Engine) -> Mapping[str, float]:
        """Numbers to add to each training row, under the names that they are to have there."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What must survive a resume, in JSON's types."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
