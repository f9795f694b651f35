"""Training on a 4-bit base: its format, and gradients that go on flowing after an evaluation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bitsandbytes.functional import has_avx512bf16
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TrainerControl, TrainerState, TrainingArguments

from harness.errors import StageFailed
from harness.inference.models.loading import load_model
from harness.recipes import SFT, LoRA, QLoRA
from harness.training import network as network_module
from harness.training.adapter_setup import Flow, format_check, four_bit_layers
from harness.training.network import add_adapter, keep_gradients
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model

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


def gradients(network: Any) -> dict[str, torch.Tensor]:
    """Return the gradients of a training step, every tensor of the adapter counting."""
    network.zero_grad()
    ids = torch.arange(3, 33).reshape(2, 15)
    logits = network.train()(input_ids=ids).logits
    cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    return {name: weights.grad.clone() for name, weights in network.named_parameters() if weights.grad is not None}


def evaluate(network: Any) -> None:
    with torch.no_grad():
        network.eval()(input_ids=torch.arange(3, 20)[None])


def quantised(tiny: Model, *, kept: bool) -> Any:
    base = load_model(tiny, dtype=torch.float32, quantize="nf4")
    if kept:
        keep_gradients(base)
    network = add_adapter(base, QLoRA(rank=2))
    torch.manual_seed(0)
    for name, weights in network.named_parameters():
        if "lora_" in name:
            weights.data = 0.05 * torch.randn_like(weights)
    return network


def test_an_evaluation_leaves_the_gradients_as_they_were(tiny: Model) -> None:
    network = quantised(tiny, kept=True)
    before = gradients(network)
    evaluate(network)
    after = gradients(network)
    assert len(before) == 28
    for name, gradient in before.items():
        assert torch.equal(after[name], gradient), name


@pytest.mark.skipif(not has_avx512bf16(), reason="this CPU repacks nothing")
def test_without_care_an_evaluation_changes_the_gradients_but_not_to_zero(tiny: Model) -> None:
    network = quantised(tiny, kept=False)
    before = gradients(network)
    evaluate(network)
    after = gradients(network)
    first = min(before)
    assert after[first].any()
    assert float((after[first] - before[first]).norm()) > 0.1 * float(before[first].norm())


@pytest.mark.skipif(not has_avx512bf16(), reason="this CPU repacks nothing")
def test_a_run_whose_layers_were_repacked_ends_at_the_next_step(
    job: Jobs, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "keep_gradients", lambda base: None)
    with pytest.raises(StageFailed, match=r"^step \d of 3: 14 of 14 4-bit layers were repacked by an evaluation"):
        fit(job(SFT(adapter=QLoRA(rank=2), epochs=1, evaluate_every=1)), progress=heard)


def test_one_repacked_layer_is_enough(tiny: Model) -> None:
    network = quantised(tiny, kept=True)
    arguments, state, control = TrainingArguments(use_cpu=True), TrainerState(max_steps=9), TrainerControl()
    Flow().on_pre_optimizer_step(arguments, state, control, model=network)
    four_bit_layers(network)[3].weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(StageFailed, match=r"^step 1 of 9: 1 of 14 4-bit layers"):
        Flow().on_pre_optimizer_step(arguments, state, control, model=network)


def test_only_a_base_in_4_bits_is_watched(job: Jobs, heard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Flow, "on_pre_optimizer_step", lambda self, *_, **__: seen.append("step"))
    fit(job(SFT(adapter=LoRA(rank=2), epochs=1, evaluate_every=3)), progress=heard)
    assert seen == []
    fit(job(SFT(adapter=QLoRA(rank=2), epochs=1, evaluate_every=3), folder=job(SFT()).folder / "q"), progress=heard)
    assert seen == ["step"] * 3
