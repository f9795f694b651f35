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
    """Ends a run on a 4-bit base whose layers have lost their gradient.

    On CPUs with avx512_bf16 a forward pass in evaluation mode repacks 4-bit weights for a kernel that has no gradient.
    What lies before such a layer is then reached through the adapters beside it alone: it learns, from a wrong
    gradient, and neither the loss nor the gradient's norm shows it.
    """

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        layers = four_bit_layers(model)
        repacked = sum(bool(getattr(layer.weight.quant_state, "packing_format_for_cpu", False)) for layer in layers)
        if repacked:
            raise StageFailed(
                f"step {state.global_step + 1} of {state.max_steps}: {repacked} of {len(layers)} 4-bit layers were "
                "repacked by an evaluation for a kernel without gradient, so that the adapters before them learn from "
                "a wrong one; train with LoRA instead, or on a GPU"
            )
