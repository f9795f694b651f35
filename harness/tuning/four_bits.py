"""What training on a 4-bit base needs: the right format, and layers whose gradient goes on flowing."""

from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.errors import StageFailed
from harness.samples import Check
from harness.weights.hardware import dtype_name


def four_bit_layers(network: Any) -> list[Any]:
    """Return the layers of `network` that hold their weights in 4 bits."""
    return [module for module in network.modules() if isinstance(module, Linear4bit)]


def format_check(network: Any) -> Check | None:
    """Return the check of the 4-bit format; None where nothing is quantised.

    bitsandbytes' own defaults are FP4 without double quantisation, with products in float32 whatever the model.
    """
    layers = four_bit_layers(network)
    if not layers:
        return None
    kinds = sorted({str(layer.weight.quant_type) for layer in layers})
    double = all(layer.weight.quant_state.nested for layer in layers)
    products = sorted({dtype_name(layer.compute_dtype) for layer in layers})
    facts = (
        f"{len(layers)} linear layers in {', '.join(kinds).upper()} {'with' if double else 'without'} double "
        f"quantisation, products in {', '.join(products)}"
    )
    if kinds == ["nf4"] and double and layers[0].compute_dtype != torch.float16:
        return Check(name="quantised base", status="ok", detail=facts)
    detail = f"{facts}; QLoRA is NF4 with double quantisation and products in bfloat16 or float32: load the base so"
    return Check(name="quantised base", status="invalid", detail=detail)


class Flow(TrainerCallback):  # type: ignore[misc]
    """Ends a run on a 4-bit base in which an evaluation stopped the gradients of some layers.

    On CPUs with avx512_bf16 a forward pass in evaluation mode repacks 4-bit weights for a kernel that has no
    gradient; what lies before such a layer then learns nothing, and the loss of a later layer's adapter hides it.
    """

    def __init__(self) -> None:
        self._flowing: frozenset[str] = frozenset()
        self._evaluated: int | None = None

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._evaluated = state.global_step

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        if self._flowing and self._evaluated is None:
            return
        now = frozenset(
            name for name, weight in model.named_parameters() if weight.grad is not None and bool(weight.grad.any())
        )
        lost = sorted(self._flowing - now)
        if lost and now:
            raise StageFailed(
                f"step {state.global_step + 1} of {state.max_steps}: {len(lost)} of {len(self._flowing)} trained "
                f"tensors, such as {lost[0]}, get no gradient since the evaluation of step {self._evaluated}: 4-bit "
                "layers were repacked for a kernel that has none; train with LoRA instead, or on a GPU"
            )
        self._flowing, self._evaluated = now, None
