"""The network that is trained: a base with the weights of an adapter switched on."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model

from harness.errors import StageFailed
from harness.models import Model
from harness.protocols import Progress
from harness.recipes import Full, LoRA, LowRank, QLoRA
from harness.recipes.adapters import Adapter
from harness.tuning.precision import Precision
from harness.weights.loading import load_model

# Up to this many tokens a row, plain attention is the faster one to train on a CPU.
_SHORT = 512


def trainable(model: Model, adapter: Adapter, precision: Precision, *, progress: Progress) -> Any:
    """Return `model` ready to be trained: what `adapter` trains is float32 and wants gradients, the rest is frozen.

    Raises StageFailed where the adapter is none of Full, LoRA and QLoRA, or finds no module to adapt.
    """
    if not isinstance(adapter, Full | LoRA | QLoRA):
        raise StageFailed(f"SFT does not know how to train {type(adapter).__name__}; give Full, LoRA or QLoRA")
    quantize = adapter.quantization if isinstance(adapter, QLoRA) else None
    base = load_model(model, dtype=precision.weights, quantize=quantize, progress=progress)
    if isinstance(adapter, Full):
        return base.requires_grad_(True)
    keep_gradients(base)
    return _adapted(base, adapter)


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


def count_parameters(model: Any) -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are; a 4-bit layer counts its unpacked weights."""
    if isinstance(model, PeftModel):
        trained, total = model.get_nb_trainable_parameters()
        return int(trained), int(total)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, wanted in sizes if wanted), sum(size for size, _ in sizes)


def save(model: Any, tokenizer: Any, folder: Path, *, facts: dict[str, str | int | None], base: str) -> None:
    """Write the tuned system to `folder`, whole or not at all: an adapter, or a full model with its tokenizer.

    facts: what harness.json says about it. base: the name that the adapter gives its base model.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if isinstance(model, PeftModel):
        for config in model.peft_config.values():
            config.base_model_name_or_path = base
        # "auto" would ask the hub whether the vocabulary has grown.
        model.save_pretrained(unfinished, save_embedding_layers=False)
        (unfinished / "README.md").unlink(missing_ok=True)  # an empty card
    else:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    (unfinished / "harness.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def _adapted(base: Any, adapter: LowRank) -> Any:
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
