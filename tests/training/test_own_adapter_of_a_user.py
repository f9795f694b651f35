"""An adapter that a user declares in files of his own, as the how-to page shows: trained, saved, loaded and merged."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import peft
import pytest
import torch

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.models.adapters import attach, count_parameters, detach, merge
from harness.inference.models.loading import load_model
from harness.recipes import SFT
from harness.recipes.adapters import Adapter, AdapterSupport, support_of
from harness.resources.memory import Formats, RowLengths, training_memory
from harness.resources.model_shape import read_shape
from harness.training.network import add_adapter
from harness.training.preflight import check_places
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-adapter.md"
Jobs = Callable[..., TuneJob]


@pytest.fixture
def factors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Write the page's blocks to the files that it names, and return the declaration's module."""
    declaration, support, of_peft, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "of the user"
    folder.mkdir()
    (folder / "factors.py").write_text(declaration)
    (folder / "factors_support.py").write_text(f"{support}\n\n{of_peft}")
    monkeypatch.syspath_prepend(folder)
    import factors

    yield factors
    for name in ("factors", "factors_support"):
        sys.modules.pop(name, None)


def logits(network: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = network(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    return found


@pytest.mark.whole
def test_it_is_trained_saved_loaded_and_merged(factors: Any, job: Jobs, tiny: Model, heard: Any) -> None:
    result = fit(job(SFT(adapter=factors.Factors(), epochs=6, learning_rate=5e-2)), progress=heard)

    loss = [point.value for point in result.log if point.name == "loss"]
    assert loss[-1] < loss[0] - 0.3
    assert {check.status for check in result.checks} == {"ok"}
    assert result.trainable_parameters == factors.Factors().trained_parameters(read_shape(tiny))
    base = load_model(tiny, dtype=torch.float32)
    before = logits(base)
    loaded = attach(base, result.folder)
    trained = logits(loaded)
    assert (trained - before).abs().max() > 0.01
    assert torch.equal(logits(detach(loaded)), before)
    merged = merge(attach(base, result.folder))
    torch.testing.assert_close(logits(merged), trained, rtol=1e-4, atol=1e-4)
    assert count_parameters(merged)[1] == count_parameters(load_model(tiny, dtype=torch.float32))[1]


@pytest.mark.whole
def test_the_recipes_of_the_page_are_named_apart_checked_and_estimated(factors: Any, tiny: Model, heard: Any) -> None:
    scope: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[-1], scope)
    every, two = scope["recipes"]

    assert (every.name, two.name) == ("sft factors", "sft factors-0+1")
    assert every.rate == 1e-2
    check_places(tiny, every, progress=heard)
    with pytest.raises(InvalidExperiment, match="names 7, and the model has 2 layers"):
        check_places(tiny, SFT(adapter=factors.Factors(layers=(7,))), progress=heard)
    shape = read_shape(tiny)
    memory = training_memory(shape, every.adapter, Formats(), RowLengths(rows=1, length=8))
    assert memory.trained == shape.hidden * shape.layers


@dataclass(frozen=True)
class Vera(Adapter):
    """An adapter declared where it is used, carried by PEFT."""

    rank: int = 4
    support: ClassVar[str] = f"{__name__}:VeraSupport"
    merges: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"vera-{self.rank}"


class VeraSupport(AdapterSupport[Vera]):
    def peft_config(self, *, prepared: bool = True) -> peft.PeftConfig:
        return peft.VeraConfig(r=self.adapter.rank, target_modules=["q_proj"], task_type="CAUSAL_LM")


@pytest.mark.whole
def test_a_config_of_peft_is_enough(job: Jobs, tiny: Model, heard: Any) -> None:
    result = fit(job(SFT(adapter=Vera(), epochs=2, learning_rate=5e-2)), progress=heard)

    assert {check.status for check in result.checks} <= {"ok", "warning"}
    base = load_model(tiny, dtype=torch.float32)
    loaded = attach(base, result.folder)
    trained = logits(loaded)
    torch.testing.assert_close(logits(merge(loaded)), trained, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_trained_or_found_again_says_so_before_it_is_trained(tiny: Model) -> None:
    @dataclass(frozen=True)
    class Hidden(Adapter):
        support: ClassVar[str] = "harness.inference.custom_adapters.modules:BitFitSupport"
        name: ClassVar[str] = "hidden"  # type: ignore[assignment]

    @dataclass(frozen=True)
    class Without(Adapter):
        name: ClassVar[str] = "without"  # type: ignore[assignment]

    @dataclass(frozen=True)
    class Elsewhere(Adapter):
        support: ClassVar[str] = "harness.fingerprint:fingerprint"
        name: ClassVar[str] = "elsewhere"  # type: ignore[assignment]

    with pytest.raises(StageFailed, match="declare it at the top of a module"):
        add_adapter(load_model(tiny, dtype=torch.float32), Hidden())
    with pytest.raises(InvalidExperiment, match="names no support"):
        support_of(Without())
    with pytest.raises(InvalidExperiment, match="makes no AdapterSupport"):
        support_of(Elsewhere())


@pytest.mark.whole
def test_a_saved_adapter_whose_class_is_gone_names_it(factors: Any, job: Jobs, tiny: Model, heard: Any) -> None:
    result = fit(job(SFT(adapter=factors.Factors(layers=(1,)), epochs=1)), progress=heard)
    for name in ("factors", "factors_support"):
        sys.modules.pop(name)
    sys.path[:] = [entry for entry in sys.path if "of the user" not in entry]

    with pytest.raises(StageFailed, match="declared by factors:Factors, which cannot be imported here"):
        attach(load_model(tiny, dtype=torch.float32), result.folder)
