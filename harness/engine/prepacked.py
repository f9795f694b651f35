"""Linear layers with their weights also in the order in which oneDNN multiplies few rows fastest.

A decoding step on a CPU is products of some dozen rows, and in bfloat16 1.2 to 1.7 times faster so; products of
hundreds of rows are slower, and take the plain weights. It costs the memory of the weights once more.
"""

from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from harness.engine.memory import memory_bytes

# Up to so many rows a product is faster prepacked.
_ROWS = 192
# Most of the machine's memory that the second copy may take.
_SHARE = 0.2


def prepack(network: nn.Module) -> bool:
    """Give the linear layers of `network` a second, prepacked copy of their weights, made at the first use.

    Returns whether it was done: it is not on another device than a CPU, in another dtype than bfloat16, where the CPU
    has no products in bfloat16, or where the memory is short.
    """
    layers = [module for module in network.modules() if type(module) is nn.Linear]
    size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    weights = next(network.parameters())
    if weights.device.type != "cpu" or weights.dtype != torch.bfloat16 or not _multiplies_bfloat16():
        return False
    if size > _SHARE * memory_bytes(weights.device):
        return False
    for layer in layers:
        layer.forward = MethodType(_Prepacked(), layer)  # type: ignore[method-assign]
    return True


def _multiplies_bfloat16() -> bool:
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Prepacked:
    """The forward pass of one layer. The copy is made anew when the weight was written to."""

    def __init__(self) -> None:
        self._of: tuple[int, int] | None = None
        self._copy: Any = None

    def __call__(self, layer: nn.Linear, states: torch.Tensor) -> torch.Tensor:
        rows = states.numel() // layer.in_features
        if rows > _ROWS or not torch.is_inference_mode_enabled() or states.dtype != layer.weight.dtype:
            return linear(states, layer.weight, layer.bias)
        now = (layer.weight.data_ptr(), layer.weight._version)
        if now != self._of:
            self._copy, self._of = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows), now
        packed: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, self._copy, layer.bias, "none", [], "")
        return packed
