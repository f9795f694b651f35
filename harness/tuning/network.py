"""The network that is trained: a base with the weights of an adapter switched on."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model

from harness.errors import StageFailed
from harness.protocols import Progress
from harness.recipes import Full, LoRA, LowRank, QLoRA
from harness.recipes.adapters import Adapter
from harness.tuning.ground import Ground, write_facts
from harness.tuning.precision import Precision
from harness.weights.adapted import attach, is_adapted, merge, save_adapter
from harness.weights.loading import load_model
from harness.weights.own import adapters as own

# Up to this many tokens a row, plain attention is the faster one to train on a CPU.
_SHORT = 512


def trainable(ground: Ground, adapter: Adapter, precision: Precision, *, progress: Progress) -> Any:
    """Return the ground's model ready to be trained: what `adapter` trains is float32 and wants gradients.

    The rest is frozen. Raises StageFailed where the adapter is of no known kind, or finds no module to adapt.
    """
    quantize = adapter.quantization if isinstance(adapter, QLoRA) else None
    base = load_model(ground.model, dtype=precision.weights, quantize=quantize, progress=progress)
    if isinstance(adapter, Full):
        return base.requires_grad_(True)
    keep_gradients(base)
    if ground.adapter is not None:
        return attach(base, ground.adapter, trainable=True).train()
    return put_on(base, adapter)


def put_on(base: Any, adapter: Adapter) -> Any:
    """Return `base` with new weights of `adapter` on it."""
    if isinstance(adapter, LoRA | QLoRA):
        return _low_rank(base, adapter)
    if own.carries(adapter):
        return own.put_on(base, adapter)
    raise StageFailed(f"{type(adapter).__name__} is no adapter that can be trained here; give LoRA, QLoRA or Full")


def keep_gradients(base: Any) -> None:
    """Keep 4-bit layers in the layout that has a gradient.

    On CPUs with avx512_bf16 their first forward in evaluation mode repacks the weights for a kernel that has none.
    """
    for module in base.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def train_in_float32(model: Any) -> None:
    """Undo TRL's cast of an adapter on a 4-bit base to bfloat16, where small updates are rounded away."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def attend_fast(model: Any, precision: Precision, *, longest: int) -> None:
    """Choose the attention that trains fastest on rows of at most `longest` tokens.

    On a CPU the backward pass of torch's flash kernel takes 6 times as long as that of plain products at 50 to 128
    tokens and twice as long at 512 (docs/log.md); plain products need longest x longest numbers a head.
    """
    if precision.device.type == "cpu" and longest <= _SHORT:
        model.set_attn_implementation("eager")


def save(
    model: Any, tokenizer: Any, folder: Path, *, about: dict[str, str | int | None], ground: Ground, base: str
) -> None:
    """Write the tuned system to `folder`, whole or not at all: an adapter, or a full model with its tokenizer.

    about: what harness.json says of it. base: the name that an adapter gives its base model. An adapter on a base
    that earlier steps moved is merged into it, in float32.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if is_adapted(model):
        save_adapter(model, unfinished, base=base)
        if ground.moved:
            whole = merge(attach(load_model(ground.model, dtype=torch.float32), unfinished))
            shutil.rmtree(unfinished)
            _save_whole(whole, tokenizer, unfinished)
    else:
        _save_whole(model, tokenizer, unfinished)
    write_facts(unfinished, about)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def _save_whole(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _low_rank(base: Any, adapter: LowRank) -> Any:
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.scale,
        lora_dropout=adapter.dropout,
        target_modules=adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(base, config)
    except ValueError as error:
        leaves = {
            name.rpartition(".")[2] for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)
        }
        raise StageFailed(
            f"{adapter.name} cannot be put on the model: {str(error).splitlines()[0]}; "
            f"its linear modules are {', '.join(sorted(leaves))}"
        ) from error
