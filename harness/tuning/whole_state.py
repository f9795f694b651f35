"""Checkpoints of adapters of which PEFT saves less than training needs to go on.

Of a prompt encoder PEFT saves the virtual tokens that it makes, not the encoder; loading them into one gives another
prompt. Of AdaLoRA it saves the ranks that are left, and loading them changes the shapes that the optimiser knows.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.tuning.aligned import has_virtual_tokens
from harness.tuning.ranks import NO_RANK_LEFT, allocates_ranks
from harness.weights.bars import unwarned

_FILE = "trained.safetensors"
_SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # what the rank allocator has seen of each weight


def keep_whole(trainer: Any) -> None:
    """Let the checkpoints of `trainer` hold all trained weights, where PEFT's own file does not."""
    network = trainer.model
    if not (has_virtual_tokens(network) or allocates_ranks(network)):
        return
    trainer.add_callback(_Keeper())
    trainer._save_checkpoint = partial(_save, trainer._save_checkpoint)
    trainer._load_from_checkpoint = partial(_load, trainer)


class _Keeper(TrainerCallback):  # type: ignore[misc]
    """Writes the trained weights, and the allocator's scores, beside PEFT's file."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        tensors = {f"weight/{name}": value.detach().contiguous() for name, value in _trained(model)}
        metadata = {}
        if allocates_ranks(model):
            allocator = model.base_model.rankallocator
            for score in _SCORES:
                tensors |= {f"{score}/{name}": value for name, value in getattr(allocator, score).items()}
            metadata["ranks"] = json.dumps(model.peft_config[model.active_adapter].rank_pattern)
        save_file(tensors, Path(args.output_dir) / f"checkpoint-{state.global_step}" / _FILE, metadata=metadata)


def _save(original: Callable[..., None], *given: Any, **named: Any) -> None:
    with unwarned(NO_RANK_LEFT):
        original(*given, **named)


def _trained(network: Any) -> list[tuple[str, torch.Tensor]]:
    return [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]


def _load(trainer: Any, checkpoint: str, model: Any = None) -> None:
    network = trainer.model if model is None else model
    weights = dict(_trained(network))
    with safe_open(Path(checkpoint) / _FILE, framework="pt") as stored, torch.no_grad():
        if allocates_ranks(network):
            allocator = network.base_model.rankallocator
            allocator.reset_ipt()
            network.peft_config[network.active_adapter].rank_pattern = json.loads(stored.metadata()["ranks"])
        for key in stored.keys():  # noqa: SIM118 - a file, no mapping
            part, _, name = key.partition("/")
            if part == "weight":
                weights[name].copy_(stored.get_tensor(key))
            else:
                getattr(allocator, part)[name] = stored.get_tensor(key).to(network.device)
