"""What an optimizer has learned, apart from what it was made with; and how to give it back to another."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

SCHEDULED = frozenset({"lr", "initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"})
"""What schedules write into parameter groups."""

GIVEN = frozenset({"params", "param_names", "name"})
"""What a parameter group says of its parameters."""


class Wrapper(Optimizer):
    """An optimizer that has others, its `inner`, do the work on groups and state that they share with it."""

    inner: tuple[Optimizer, ...]

    def connect(self) -> None:
        """Have the inner optimizers work on this one's groups and state, after either was replaced."""
        raise NotImplementedError

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        keep_types(self, state_dict["state"])
        self.connect()


def learned(optimizer: Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    """What the optimizer keeps in a parameter group that it was not made with, such as a count of steps.

    A hyperparameter that is left to it, as null, and that it has chosen is among that.
    """
    made_with, initial = hyperparameters(optimizer), defaults(optimizer)
    return {
        name: value
        for name, value in group.items()
        if name not in GIVEN | SCHEDULED
        and (name not in made_with or initial.get(name, value) is None)
        and not (name in initial and is_same(value, initial[name]))
    }


def give_back(optimizer: Optimizer, state: Mapping[Any, Any], groups: Iterable[Mapping[str, Any]]) -> None:
    """Load the `state` of a state_dict and what `learned` gave for each group, every value as it was.

    Hyperparameters stay those of the optimizer.
    """
    made_with, initial = hyperparameters(optimizer), defaults(optimizer)
    fresh = {name: value for name, value in initial.items() if name not in made_with}
    packed = optimizer.state_dict()["param_groups"]
    for group, values in zip(packed, groups, strict=True):
        group.update(fresh)
        group.update({n: v for n, v in values.items() if n not in made_with or group.get(n) is None})
    optimizer.load_state_dict({"state": dict(state), "param_groups": packed})
    keep_types(optimizer, state)


def keep_types(optimizer: Optimizer, state: Mapping[Any, Any]) -> None:
    """Undo what torch does to a state that it loads: cast its tensors to the parameter's type."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, saved in state.items():
        as_saved(optimizer.state[parameters[key] if isinstance(key, int) else key], saved)


def as_saved(loaded: Any, saved: Any) -> Any:
    """The loaded value, in place where it can be, with the saved one's types."""
    if isinstance(saved, Tensor):
        return loaded if loaded.dtype == saved.dtype else saved.to(loaded.device)
    if isinstance(saved, Mapping) and isinstance(loaded, MutableMapping):
        loaded.update(
            {name: as_saved(loaded[name], value) for name, value in saved.items() if name in loaded}
        )
        return loaded
    if isinstance(saved, list | tuple):
        return type(saved)(as_saved(*pair) for pair in zip(loaded, saved, strict=True))
    return saved


def hyperparameters(optimizer: Optimizer) -> frozenset[str]:
    """The names of what a configuration or a schedule sets in a parameter group."""
    own = inspect.signature(type(optimizer)).parameters
    inner = optimizer.inner if isinstance(optimizer, Wrapper) else ()
    return SCHEDULED.union(GIVEN, own, *map(hyperparameters, inner))


def defaults(optimizer: Optimizer) -> dict[str, Any]:
    """What a new parameter group holds."""
    inner = optimizer.inner if isinstance(optimizer, Wrapper) else ()
    return {name: value for part in (*inner, optimizer) for name, value in part.defaults.items()}


def is_same(left: Any, right: Any) -> bool:
    """Whether a value of a group is one that it began with; a tensor may have changed since."""
    return not isinstance(left, Tensor) and not isinstance(right, Tensor) and bool(left == right)


def kind(optimizer: Optimizer) -> str:
    """What the optimizer is, with those within it."""
    name = type(optimizer).__name__
    inner = sorted({kind(part) for part in optimizer.inner}) if isinstance(optimizer, Wrapper) else ()
    return f"{name} of {' and '.join(inner)}" if inner else name
