"""AdaLoRA at work: ranks are handed out step by step, and the singular vectors are kept orthogonal.

Neither transformers nor TRL asks PEFT to hand out ranks, and PEFT adds its penalty to a loss that TRL does not use.
"""

import json
from pathlib import Path
from typing import Any

import torch
from peft import AdaLoraModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.recipes import AdaLoRA
from harness.samples import Check

# PEFT takes the empty tensors of a module that lost all its ranks for a fault.
NO_RANK_LEFT = r"Adapter '.*': \d+ LoRA tensor\(s\) have invalid shape"


def allocates_ranks(network: Any) -> bool:
    """Tell whether `network` carries AdaLoRA."""
    return isinstance(getattr(network, "base_model", None), AdaLoraModel)


def freeze_divisors(network: Any) -> None:
    """Leave the number by which each update is divided untrained; PEFT thaws it where it moves it to a device."""
    for name, weights in network.named_parameters():
        if ".ranknum." in name:
            weights.requires_grad_(False)


def keep_ranks(network: Any) -> None:
    """Let PEFT save the ranks that `network` computes with; its own record is as old as the last pruning."""
    config = network.peft_config[network.active_adapter]
    config.rank_pattern = {
        name.removeprefix("base_model.model."): _kept(values, config.init_r)
        for name, values in network.named_parameters()
        if f".lora_E.{network.active_adapter}" in name
    }


def _kept(values: torch.Tensor, initial: int) -> list[bool]:
    """Return which of the `initial` ranks are left; a module that an earlier step pruned holds no others any more."""
    if len(values) < initial:
        return [place < len(values) for place in range(initial)]
    return [bool(value) for value in (values != 0).view(-1)]


def orthogonality(network: Any) -> torch.Tensor:
    """Return the mean over the singular matrices P of ||P P' - I||, the penalty of Zhang et al. 2023, equation 4."""
    apart = []
    for name, weight in network.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            square = weight @ weight.T if ".lora_A." in name else weight.T @ weight
            apart.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=square.device)))
    return torch.stack(apart).mean()


class Allocation(TrainerCallback):  # type: ignore[misc]
    """Hands out ranks after each update, and adds the gradient of the penalty before it.

    The penalty is kept out of the losses, which stay comparable with those of other adapters; its gradient is added
    after clipping, and is small: that of a norm is no larger than the matrix.
    """

    def __init__(self, adapter: AdaLoRA) -> None:
        self._adapter = adapter
        self._prunes = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        config, allocator = model.peft_config[model.active_adapter], model.base_model.rankallocator
        config.total_step = state.max_steps
        config.tinit, config.tfinal = (
            int(fraction * state.max_steps) for fraction in (self._adapter.warm, self._adapter.settled)
        )
        # An adapter that an earlier step pruned has its budget already.
        allocator._set_budget_scheduler(model.base_model.model)
        self._prunes = allocator.init_bgt > allocator.target_bgt

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        if self._adapter.orthogonality > 0:
            (self._adapter.orthogonality * orthogonality(model)).backward()  # type: ignore[no-untyped-call]

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        if self._prunes:
            model.base_model.update_and_allocate(state.global_step + 1)


def ranks_checks(folder: Path, adapter: AdaLoRA) -> tuple[Check, ...]:
    """Return the check that the adapter saved in `folder` keeps to its budget of ranks; none where it was merged."""
    if not (folder / "adapter_config.json").is_file():
        return ()
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    found = [sum(kept) for kept in config["rank_pattern"].values()]
    kept, budget, began = sum(found), adapter.rank * len(found), adapter.initial_rank * len(found)
    facts = f"{kept} of {began} ranks are left on {len(found)} modules, {min(found)} to {max(found)} each"
    if kept <= budget:
        return (Check(name="ranks handed out", status="ok", detail=f"{facts}; the budget is {budget}"),)
    detail = (
        f"{facts}, more than the budget of {budget}: the weights that were kept are from before the last pruning; "
        "train longer, or give patience=None"
    )
    return (Check(name="ranks handed out", status="warning", detail=detail),)
