"""LoRA layers in one step forward and one back: the same update as PEFT's with a third of its passes over memory.

PEFT casts the activations to the adapter's float32, back again for the product, scales and adds, each a pass over
(tokens, width) and each repeated backwards. Here the low-rank product is accumulated into the frozen layer's output.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear


def fuse_lora(model: Any) -> int:
    """Let every plain LoRA layer of `model` compute the fused way, and return how many there are.

    Left as PEFT has them: layers with dropout, with a variant such as DoRA, with more adapters than one, and those on
    a quantised base. Only the computation changes, so the model saves, loads and merges as before.
    """
    layers = [module for module in model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)
    return len(layers)


def _is_plain(module: Any) -> bool:
    if type(module) is not LoraLinear or type(module.base_layer) is not torch.nn.Linear:
        return False
    names = list(module.active_adapters)
    return (
        len(names) == 1
        and names[0] in module.lora_A
        and not module.lora_variant
        and not module.fan_in_fan_out
        and isinstance(module.lora_dropout[names[0]], torch.nn.Identity)
        and module.lora_A[names[0]].bias is None
        and module.lora_B[names[0]].bias is None
    )


def _forward(layer: Any, original: Callable[..., torch.Tensor], states: torch.Tensor, **rest: Any) -> torch.Tensor:
    if layer.disable_adapters or layer.merged or rest:
        return original(states, **rest)
    base, name = layer.base_layer, layer.active_adapters[0]
    output: torch.Tensor = _Fused.apply(  # type: ignore[no-untyped-call]
        states, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )
    return output


class _Fused(torch.autograd.Function):
    """y = x W' + b + scale (x A') B'. The frozen weights W and b get no gradient.

    Products are in W's dtype: float32 accumulation of bfloat16 factors is what autocast does too.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,  # (..., in)
        weight: torch.Tensor,  # (out, in)
        bias: torch.Tensor | None,  # (out)
        down: torch.Tensor,  # (rank, in), float32
        up: torch.Tensor,  # (out, rank), float32
        scale: float,
    ) -> torch.Tensor:
        flat = states.reshape(-1, states.shape[-1]).to(weight.dtype)
        low, high = down.to(weight.dtype), up.to(weight.dtype)
        inner = flat @ low.t()  # (tokens, rank)
        output = flat @ weight.t() if bias is None else torch.addmm(bias, flat, weight.t())
        output.addmm_(inner, high.t(), alpha=scale)
        ctx.save_for_backward(flat, weight, low, high, inner)
        ctx.scale, ctx.dtype = scale, states.dtype
        return output.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, weight, low, high, inner = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0])  # (tokens, out)
        through = gradient @ high  # (tokens, rank)
        grad_down = (through.t() @ flat).float().mul_(ctx.scale)
        grad_up = (gradient.t() @ inner).float().mul_(ctx.scale)
        grad_states = None
        if ctx.needs_input_grad[0]:
            grad_states = (gradient @ weight).addmm_(through, low, alpha=ctx.scale).to(ctx.dtype)
            grad_states = grad_states.view(*gradients[0].shape[:-1], -1)
        return grad_states, None, None, grad_down, grad_up, None
