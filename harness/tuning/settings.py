"""The settings that every trainer of transformers and TRL shares, as a recipe declares them."""

from pathlib import Path
from typing import Any

from harness.recipes import Trained
from harness.tuning.history import Goal
from harness.tuning.precision import Precision

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
_BY_LOSS = Goal()


def shared_settings(
    recipe: Trained,
    *,
    folder: Path,
    seed: int,
    steps: int,
    every: int,
    precision: Precision,
    goal: Goal = _BY_LOSS,
) -> dict[str, Any]:
    """Return keyword arguments of transformers' TrainingArguments and of each of TRL's configs.

    steps: updates of the whole run. every: steps between evaluations and checkpoints. goal: what chooses one.
    """
    micro = recipe.micro_batch_size or recipe.batch_size
    return {
        "output_dir": str(folder),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": recipe.batch_size // micro,
        "learning_rate": recipe.rate,
        "lr_scheduler_type": _SCHEDULES[recipe.schedule],
        "warmup_steps": round(recipe.warmup * steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": "adamw_torch_fused",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would replace a NaN by the mean of earlier losses
        "eval_strategy": "no",  # the pacer callback asks for evaluations, also at the last step
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 3,  # the best one and the last two
        "metric_for_best_model": goal.key,
        "greater_is_better": goal.higher,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": precision.device.type == "cpu",
        "bf16": False,  # a CPU run raises on TRL's default; autocast is opened where the method computes
        "gradient_checkpointing": False,  # TRL's default breaks prefix tuning and costs time on small models
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": precision.device.type == "cuda",
        "report_to": "none",
        "disable_tqdm": True,
    }
