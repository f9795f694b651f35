"""Adapters of the harness's own modules, trained: they learn, are saved, resumed and proven."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import StageFailed
from harness.recipes import MAM, SFT, BitFit, Bottleneck, LoRA, UniPELT
from harness.recipes.adapters import Adapter
from harness.training.sft import fit
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model

Jobs = Callable[..., TuneJob]

# adapter, learning rate, by how much the loss falls at least (measured: 3.8, 4.5, 4.5, 3.8, 1.7), rows packed
CASES = [
    (Bottleneck(reduction=4), 1e-2, 3.0, True),
    (Bottleneck(reduction=4, kind="houlsby"), 1e-2, 3.5, True),
    (MAM(prefix_tokens=8, bottleneck=32), 1e-2, 3.5, False),
    (UniPELT(), 2e-2, 3.0, False),
    (BitFit(), 2e-2, 1.2, True),
]


# What is measured differs from run to run.
_MEASURED = ("seconds", "memory")


def losses(result: TuneResult, name: str = "loss") -> list[float]:
    return [point.value for point in result.log if point.name == name]


def statuses(result: TuneResult) -> dict[str, str]:
    return {check.name: check.status for check in result.checks}


@pytest.mark.parametrize(("adapter", "rate", "fall", "packed"), CASES, ids=lambda value: getattr(value, "name", None))
def test_the_loss_falls(job: Jobs, heard, adapter: Adapter, rate: float, fall: float, packed: bool) -> None:
    result = fit(job(SFT(adapter=adapter, epochs=6, learning_rate=rate)), progress=heard)

    assert losses(result)[0] - losses(result)[-1] > fall
    assert losses(result, "dev_loss")[0] > losses(result, "dev_loss")[-1]
    # An attention that sees a prefix of its own cannot tell rows apart in a packed one.
    assert result.environment["packed"] is packed
    found = statuses(result)
    assert found.pop("trained weights", "warning") == "warning"
    assert set(found.values()) == {"ok"}
    assert {"adapter changes the model", "saved system answers as trained"} < set(found)
    weights = load_file(result.folder / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) == result.trainable_parameters


def test_a_bfloat16_base_trains_them_in_float32(job: Jobs, heard, tiny: Model) -> None:
    bfloat16 = Model(tiny.source, dtype="bfloat16")
    for adapter in (UniPELT(), BitFit()):
        made = job(SFT(adapter=adapter, epochs=2, learning_rate=2e-2), model=bfloat16)
        result = fit(made, progress=heard)
        assert losses(result)[-1] < losses(result)[0]
        assert statuses(result)["saved system answers as trained"] == "ok"
        weights = load_file(result.folder / "adapter_model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@pytest.mark.parametrize("adapter", [MAM(prefix_tokens=8, bottleneck=8), UniPELT()], ids=lambda adapter: adapter.name)
def test_a_learning_rate_of_zero_is_invalid_also_where_the_start_is_not_the_base(
    job: Jobs, heard, adapter: Adapter
) -> None:
    result = fit(job(SFT(adapter=adapter, epochs=1, learning_rate=0)), progress=heard)

    found = {check.name: check for check in result.checks}
    assert found["adapter changes the model"].status == "ok"  # an untrained prefix does
    assert found["training changes the model"].status == "invalid"
    assert "nothing was learned (a learning rate of 0?)" in found["training changes the model"].detail


class Killed(BaseException):
    """As by a signal: nothing in the run catches it."""


class Killing:
    """A progress that ends the run at a step."""

    def __init__(self, heard, at: int) -> None:
        self._heard, self._left = heard, at

    def __getattr__(self, name: str):
        return getattr(self._heard, name)

    def meter(self, *arguments, **named):
        self._heard.advance = self._advance
        return self._heard.meter(*arguments, **named)

    def _advance(self, amount: int = 1, *, note: str = "") -> None:
        self._left -= amount
        if self._left == 0:
            raise Killed


@pytest.mark.parametrize("adapter", [UniPELT(), BitFit()], ids=lambda adapter: adapter.name)
def test_a_killed_run_resumes_to_the_same_weights_from_small_checkpoints(
    job: Jobs, heard, tmp_path: Path, adapter: Adapter
) -> None:
    recipe = SFT(adapter=adapter, epochs=3, learning_rate=1e-2, evaluate_every=3)
    undisturbed = fit(job(recipe, folder=tmp_path / "undisturbed"), progress=heard)
    with pytest.raises(Killed):
        fit(job(recipe, folder=tmp_path / "killed"), progress=Killing(type(heard)(), at=8))
    weights = load_file(tmp_path / "killed" / "checkpoints" / "checkpoint-6" / "model.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) == undisturbed.trainable_parameters
    resumed = fit(job(recipe, folder=tmp_path / "killed"), progress=heard)

    assert resumed.environment["resumed_from"] == "checkpoint-6"
    expected = load_file(undisturbed.folder / "adapter_model.safetensors")
    found = load_file(resumed.folder / "adapter_model.safetensors")
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert [point for point in resumed.log if point.name not in _MEASURED] == [
        point for point in undisturbed.log if point.name not in _MEASURED
    ]


def test_a_step_goes_on_from_the_same_adapter_and_after_bitfit_from_a_merged_base(
    job: Jobs, heard, tmp_path: Path
) -> None:
    for adapter in (UniPELT(), BitFit()):
        folder = tmp_path / adapter.name
        first = fit(job(SFT(adapter=adapter, epochs=3, learning_rate=1e-2), folder=folder / "a"), progress=heard)
        recipe = SFT(adapter=adapter, epochs=1, learning_rate=1e-3)
        second = fit(job(recipe, folder=folder / "b", start=first.folder), progress=heard)
        assert losses(second)[0] < losses(first)[0] - 0.5
        assert (second.folder / "harness_adapter.json").is_file()
    for name, adapter in (("c", LoRA(rank=4)), ("d", BitFit())):
        second = fit(job(SFT(adapter=adapter, epochs=1), folder=tmp_path / name, start=second.folder), progress=heard)
        assert (second.folder / "config.json").is_file()  # whole: its base was moved by the step before
        assert statuses(second)["saved system answers as trained"] == "ok"


def test_what_cannot_be_merged_is_no_second_step(job: Jobs, heard, tmp_path: Path) -> None:
    first = fit(job(SFT(epochs=1), folder=tmp_path / "a"), progress=heard)
    with pytest.raises(StageFailed, match="mam-p30-b512 cannot be merged; train both steps with the same adapter"):
        fit(job(SFT(adapter=MAM(), epochs=1), folder=tmp_path / "b", start=first.folder), progress=heard)


def test_biases_of_a_model_that_has_none_end_the_run_with_what_to_use(job: Jobs, heard) -> None:
    with pytest.raises(StageFailed, match=r"has no bias at all, .*use BitFit\(\) for its norms, or LoRA"):
        fit(job(SFT(adapter=BitFit(norms=False), epochs=1)), progress=heard)


def test_bitfit_says_that_it_trains_norms_alone(job: Jobs, heard) -> None:
    result = fit(job(SFT(adapter=BitFit(), epochs=1)), progress=heard)
    check = {check.name: check for check in result.checks}["trained weights"]
    assert (check.status, check.detail) == (
        "warning",
        "the model has no bias: BitFit trains the scales of its 5 norms alone, 320 numbers; LoRA() or IA3() can learn "
        "more",
    )
