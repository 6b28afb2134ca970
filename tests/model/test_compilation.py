"""A module compiled by torch.compile: the same numbers under the same names, by the backend asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import run

from trainer_cli.config.errors import UserError
from trainer_cli.model import MLP
from trainer_cli.model.compilation import compile_module
from trainer_cli.tracker.jsonl import FILE, read


class Noting:
    """A backend that notes what it is asked to compile, and leaves it as it is."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, graph: Any, inputs: Any, **options: Any) -> Any:
        self.asked.append(options)
        return graph


@pytest.fixture
def noting() -> Iterator[Noting]:
    """The backend, known to torch by the name `noting`."""
    backend = Noting()
    torch._dynamo.register_backend(backend, "noting")  # type: ignore[attr-defined]
    yield backend
    torch._dynamo.reset()  # type: ignore[attr-defined]
    del torch._dynamo.backends.registry._COMPILER_FNS["noting"]  # type: ignore[attr-defined]
    torch._dynamo.backends.registry._BACKENDS.pop("noting", None)  # type: ignore[attr-defined]


def module() -> MLP:
    torch.manual_seed(0)
    return MLP(3, [4], 2, 0.0).double()


def test_it_is_compiled_at_its_first_call_and_stays_the_module_that_it_is(noting: Noting) -> None:
    compiled, plain = module(), module()
    compile_module(compiled, "noting", None)
    assert noting.asked == []
    features = torch.randn(5, 3, dtype=torch.float64)
    expected, found = plain(features=features)["logits"], compiled(features=features)["logits"]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert len(noting.asked) == 1
    # What a checkpoint holds does not tell whether it was compiled.
    assert type(compiled) is MLP and compiled.state_dict().keys() == plain.state_dict().keys()
    expected.sum().backward()
    found.sum().backward()
    for one, other in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-14)
    compiled(features=features)
    assert len(noting.asked) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what inductor's import says of torch's own
@pytest.mark.parametrize("backend", [None, "eager", "aot_eager"])
def test_torchs_backends_are_known_those_for_debugging_too(backend: str | None) -> None:
    compiled = module()
    compile_module(compiled, backend, None)
    assert compiled._compiled_call_impl is not None


@pytest.mark.parametrize(
    ("backend", "right"), [("inducter", "did you mean inductor?"), ("zzz", "one of ")], ids=["near", "far"]
)
def test_a_backend_that_there_is_not_is_refused_and_nothing_is_compiled(backend: str, right: str) -> None:
    plain = module()
    with pytest.raises(UserError) as caught:
        compile_module(plain, backend, None)
    (problem,) = caught.value.problems
    assert problem.what == f"args.torch_compile_backend={backend} is no backend of torch.compile"
    assert right in problem.right and "inductor" in problem.right
    assert plain._compiled_call_impl is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_trains_to_the_same_numbers(tmp_path: Path, backend: str) -> None:
    given = ("args.torch_compile=true", f"args.torch_compile_backend={backend}", "args.num_train_epochs=1")
    run(tmp_path / "compiled", *given)
    run(tmp_path / "plain", "args.num_train_epochs=1")
    for row, other in zip(read(tmp_path / "compiled" / FILE), read(tmp_path / "plain" / FILE), strict=True):
        assert row == pytest.approx(other, rel=1e-5)


@pytest.mark.slow
def test_the_mode_of_compilation_reaches_the_backend(tmp_path: Path, noting: Noting) -> None:
    given = ("args.torch_compile=true", "args.torch_compile_backend=noting", "args.max_steps=1")
    run(tmp_path / "mode", *given, "args.torch_compile_mode=max-autotune")
    assert noting.asked and all(options["mode"] == "max-autotune" for options in noting.asked)
