"""Training on a 4-bit base: its format, and gradients that go on flowing after an evaluation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TrainerControl, TrainerState, TrainingArguments

from harness.errors import StageFailed
from harness.jobs import TuneJob
from harness.models import Model
from harness.recipes import SFT, LoRA, QLoRA
from harness.tuning.four_bits import Flow, format_check
from harness.tuning.sft import fit
from harness.weights.loading import load_model

Jobs = Callable[..., TuneJob]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_base_is_nf4_with_double_quantisation_and_computes_as_it_is_served(
    job: Jobs, heard: Any, tiny: Model, dtype: Any
) -> None:
    result = fit(job(SFT(adapter=QLoRA(rank=2), epochs=1), model=Model(tiny.source, dtype=dtype)), progress=heard)
    check = {check.name: check for check in result.checks}["quantised base"]
    assert check.status == "ok"
    assert check.detail == f"14 linear layers in NF4 with double quantisation, products in {dtype}"


def test_the_defaults_of_bitsandbytes_are_invalid_evidence(tiny: Model) -> None:
    """What a base loaded without care is: FP4, quantised once."""
    network = AutoModelForCausalLM.from_pretrained(
        tiny.source, quantization_config=BitsAndBytesConfig(load_in_4bit=True), device_map={"": "cpu"}
    )
    check = format_check(network)
    assert check is not None
    assert check.status == "invalid"
    assert check.detail.startswith("14 linear layers in FP4 without double quantisation, products in float32; QLoRA is")


def test_a_base_that_is_not_quantised_has_no_format(tiny: Model) -> None:
    assert format_check(load_model(tiny, dtype=torch.float32)) is None


class Layers(torch.nn.Module):
    """Two trained tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))


def flow(*gradients: tuple[float | None, float | None], evaluated_after: int) -> None:
    """Let `Flow` see the gradients of (early, late), step by step, with an evaluation after one step."""
    watch, layers, state = Flow(), Layers(), TrainerState(max_steps=len(gradients))
    arguments, control = TrainingArguments(use_cpu=True), TrainerControl()
    for step, pair in enumerate(gradients, start=1):
        for weights, gradient in zip((layers.early, layers.late), pair, strict=True):
            weights.grad = None if gradient is None else torch.full((2,), gradient)
        watch.on_pre_optimizer_step(arguments, state, control, model=layers)
        state.global_step = step
        if step == evaluated_after:
            watch.on_evaluate(arguments, state, control)


@pytest.mark.parametrize("gone", [0.0, None], ids=["zero", "none"])
def test_a_layer_that_gets_no_gradient_after_an_evaluation_ends_the_run(gone: float | None) -> None:
    with pytest.raises(
        StageFailed, match=r"^step 3 of 3: 1 of 2 trained tensors, such as early, get no gradient since .* of step 2"
    ):
        flow((1.0, 1.0), (1.0, 1.0), (gone, 1.0), evaluated_after=2)


def test_a_layer_that_never_had_a_gradient_is_no_fault() -> None:
    flow((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), evaluated_after=2)


def test_a_loss_of_zero_after_an_evaluation_is_no_fault() -> None:
    flow((1.0, 1.0), (1.0, 1.0), (0.0, 0.0), evaluated_after=2)


def test_only_a_base_in_4_bits_is_watched(job: Jobs, heard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Flow, "on_evaluate", lambda self, *_, **__: seen.append("evaluated"))
    fit(job(SFT(adapter=LoRA(rank=2), epochs=1, evaluate_every=3)), progress=heard)
    assert seen == []
    fit(job(SFT(adapter=QLoRA(rank=2), epochs=1, evaluate_every=3), folder=job(SFT()).folder / "q"), progress=heard)
    assert seen == ["evaluated"]
