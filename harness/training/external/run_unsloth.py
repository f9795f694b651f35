"""Unsloth's files and arguments: a script on its Python interface, since its own command has no evaluation."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.recipes import SFT
from harness.recipes.yaml.mapping import whole_alpha
from harness.training.external.tuner_files import Config, Prepared, TunerJob, read_tuner_rows, write_rows
from harness.training.rows import TokenizedRow

_SCRIPT = Path(__file__).with_name("unsloth_train.py.txt")
# Unsloth knows no all-linear: these are the linear layers of Llama-like models.
_ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def prepare(order: TunerJob, rows: Sequence[TokenizedRow], dev: Sequence[TokenizedRow]) -> Prepared:
    """Write script, settings and rows. The rows are token ids already."""
    write_rows(order.train, rows)
    if order.evaluates:
        write_rows(order.dev, dev)
    script = order.folder / "unsloth_train.py"
    shutil.copyfile(_SCRIPT, script)
    settings = order.folder / "settings.json"
    settings.write_text(json.dumps(_settings(order), indent=2) + "\n", encoding="utf-8")
    return Prepared(
        arguments=(str(script), str(settings)),
        settings=settings,
        unmapped=(),
        read=lambda: read_tuner_rows(order.train),
    )


def _settings(order: TunerJob) -> Config:
    recipe = order.recipe
    return {
        "model": {
            "model_name": str(order.model),
            "max_seq_length": order.longest,
            "load_in_4bit": recipe.adapter.quantization is not None,
            "full_finetuning": recipe.adapter.whole,
        },
        "adapter": _adapter(recipe, order.seed),
        "data": {"train": str(order.train), **({"dev": str(order.dev)} if order.evaluates else {})},
        "patience": recipe.patience if order.evaluates else None,
        "training": _training(order),
    }


def _adapter(recipe: SFT, seed: int) -> Config | None:
    adapter = recipe.adapter.for_tuners
    if adapter is None or adapter.kind == "full":
        return None
    alpha, lost = whole_alpha(adapter)
    return {
        "r": adapter.rank,
        "lora_alpha": adapter.scale if lost else alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": _ALL if isinstance(adapter.targets, str) else list(adapter.targets),
        "bias": "none",
        "use_gradient_checkpointing": False,
        "random_state": seed,
        **({"use_rslora": True} if adapter.rslora else {}),
        **({"use_dora": True} if adapter.dora else {}),
    }


def _training(order: TunerJob) -> Config:
    recipe = order.recipe
    micro = recipe.micro_batch_size or recipe.batch_size
    return {
        "output_dir": str(order.output),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": recipe.batch_size // micro,
        "learning_rate": recipe.rate,
        "lr_scheduler_type": _SCHEDULES[recipe.schedule],
        "warmup_steps": round(recipe.warmup * order.steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": "adamw_torch_fused",
        "logging_steps": 1,
        "eval_strategy": "steps" if order.evaluates else "no",
        "eval_steps": order.every,
        "save_strategy": "steps",
        "save_steps": order.every,
        "save_total_limit": 3,
        "load_best_model_at_end": order.evaluates,
        "seed": order.seed,
        "bf16": order.half,
        "report_to": "none",
        "max_length": order.longest,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
