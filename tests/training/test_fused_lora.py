"""The fused LoRA layer against PEFT's own."""

import copy

import peft
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from harness.training.adapter_setup import fuse_lora


def lora(tiny_model, **options) -> peft.PeftModel:  # type: ignore[no-untyped-def]
    """Return a tiny model with an adapter whose every weight counts."""
    torch.manual_seed(3)
    config = peft.LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": "all-linear", **options})
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter) * 0.05
    return model


def learn(model: peft.PeftModel) -> tuple[float, dict[str, torch.Tensor]]:
    ids = torch.arange(3, 33).reshape(2, 15)
    loss = cross_entropy(model(input_ids=ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    return loss.item(), {name: weights.grad for name, weights in model.named_parameters() if weights.requires_grad}


def test_loss_and_gradients_are_those_of_peft(tiny_model) -> None:  # type: ignore[no-untyped-def]
    plain = lora(tiny_model)
    fused = copy.deepcopy(plain)
    assert fuse_lora(fused) == 14  # 7 linear layers in each of 2 blocks
    (loss, gradients), (fused_loss, fused_gradients) = learn(plain), learn(fused)
    assert fused_loss == pytest.approx(loss, abs=1e-6)
    assert fused_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        assert gradient.abs().max() > 0


def test_gradients_in_double_precision_are_those_of_finite_differences(tiny_model) -> None:  # type: ignore[no-untyped-def]
    from harness.training.adapter_setup import _Fused

    torch.manual_seed(0)
    shapes = ((2, 3, 5), (4, 5), (4,), (2, 5), (4, 2))
    states, weight, bias, down, up = (torch.randn(shape, dtype=torch.float64) for shape in shapes)

    def layer(states: torch.Tensor) -> torch.Tensor:
        return _Fused.apply(states, weight, bias, down, up, 1.5)

    expected = states @ weight.t() + bias + 1.5 * states @ down.t() @ up.t()
    torch.testing.assert_close(layer(states), expected)
    assert torch.autograd.gradcheck(layer, (states.requires_grad_(),))


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_what_is_not_plain_is_left_to_peft(tiny_model, options) -> None:  # type: ignore[no-untyped-def]
    assert fuse_lora(lora(tiny_model, **options)) == 0


def test_a_disabled_adapter_leaves_the_base(tiny_model) -> None:  # type: ignore[no-untyped-def]
    model, ids = lora(tiny_model), torch.arange(3, 18)[None]
    base = AutoModelForCausalLM.from_pretrained(tiny_model)(input_ids=ids).logits
    fuse_lora(model)
    assert not torch.equal(model(input_ids=ids).logits, base)
    with model.disable_adapter():
        assert torch.equal(model(input_ids=ids).logits, base)


def test_the_fused_model_merges_as_before(tiny_model) -> None:  # type: ignore[no-untyped-def]
    model, ids = lora(tiny_model), torch.arange(3, 18)[None]
    fuse_lora(model)
    answered = model(input_ids=ids).logits
    torch.testing.assert_close(model.merge_and_unload()(input_ids=ids).logits, answered, rtol=1e-4, atol=1e-4)
