"""How much is computed at once, by the memory there is; half of it is tried when that does not fit.

Linear layers with their weights also in the order in which oneDNN multiplies few rows fastest.

A decoding step on a CPU is products of some dozen rows, and in bfloat16 1.2 to 1.7 times faster so; products of
hundreds of rows are slower, and take the plain weights. It costs the memory of the weights once more.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.functional import linear

from harness.errors import StageFailed
from harness.inference.models.loading import is_out_of_memory

Row = TypeVar("Row")
Result = TypeVar("Result")


# The share of the memory beside the weights that keys and values may take; activations and logits have the rest.
_SHARE = 0.5


def halving(compute: Callable[[Sequence[Row]], list[Result]], rows: Sequence[Row]) -> list[Result]:
    """Return `compute(rows)`, in halves where the memory does not hold all rows at once.

    Raises StageFailed where a single row does not fit.
    """
    try:
        return compute(rows)
    except RuntimeError as error:
        _give_up_unless_halved(error, len(rows))
    # Outside the handler, so that the failed batch's tensors are freed before the halves are tried.
    _free()
    middle = len(rows) // 2
    return halving(compute, rows[:middle]) + halving(compute, rows[middle:])


def narrowing(
    compute: Callable[[Sequence[Row], int], Iterator[tuple[int, Result]]], rows: Sequence[Row], width: int
) -> Iterator[tuple[int, Result]]:
    """Yield (place in `rows`, result) of `compute(rows, width)`, with half the width where the memory does not hold it.

    Rows whose results came before the memory ran out are not computed again.

    Raises StageFailed where a width of 1 does not fit.
    """
    left = list(range(len(rows)))
    while left:
        try:
            asked = list(left)
            for place, result in compute([rows[place] for place in asked], width):
                left.remove(asked[place])
                yield asked[place], result
        except RuntimeError as error:
            _give_up_unless_halved(error, width)
            width = min(width, len(left)) // 2 or 1
            _free()


def rows_that_fit(network: Any, tokens: int, *, most: int) -> int:
    """Return how many rows' keys and values, of `tokens` each, the memory holds beside the weights: 1 to `most`.

    It is the whole memory that counts, not what is free just now: a resumed stage plans as the first run did.
    """
    config = network.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row = 2 * config.num_hidden_layers * heads * width * network.dtype.itemsize * max(1, tokens)
    weights = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    return max(1, min(most, int(_SHARE * (memory_bytes(network.device) - weights) / row)))


def memory_bytes(device: torch.device) -> int:
    """Return the memory of `device`; of a CPU, what the machine or the process's control group allows."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return min(total, int(allowed)) if allowed.isdecimal() else total


def _give_up_unless_halved(error: RuntimeError, count: int) -> None:
    if not is_out_of_memory(error):
        raise error
    if count <= 1:
        raise StageFailed(
            f"one row alone does not fit the memory ({str(error).splitlines()[0]}); "
            "shorten the prompts, lower max_tokens or use a smaller model"
        ) from error


def _free() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# Up to so many rows a product is faster prepacked.
_ROWS = 192
# Most of the machine's memory that the second copy may take.
_PACKED_SHARE = 0.2


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
    if size > _PACKED_SHARE * memory_bytes(weights.device):
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
