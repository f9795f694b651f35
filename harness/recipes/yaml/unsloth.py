"""SFT <-> the YAML of `unsloth train --config`.

Source: the configuration classes of Unsloth 2026.10 (sections model, data, training, lora, logging).
"""

from collections.abc import Mapping

from harness.errors import InvalidExperiment
from harness.recipes.adapters import Full, LoRA, LowRank, QLoRA
from harness.recipes.sft import SFT
from harness.recipes.yaml.mapping import (
    MAPPED_ADAPTER,
    Config,
    Exported,
    Imported,
    Settings,
    Unmapped,
    export_reasons,
    low_rank,
    switched_on,
    switches,
    unmapped_fields,
    whole_alpha,
)

# Its own default: the linear layers of Llama-like models, which is what all-linear finds in them.
_ALL = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
_OPTIONS = {"rslora": "use_rslora", "dora": "use_dora"}
_MAPPED = (
    "learning_rate",
    "batch_size",
    "micro_batch_size",
    "weight_decay",
    "backend",
    *MAPPED_ADAPTER,
)
_EXPORT_REASONS = {
    **export_reasons("unsloth"),
    "limit": "give a data set with fewer rows",
    "devices": "it trains on one device",
    "strategy": "it trains on one device",
}
_IMPORT_REASONS = {
    "model": "is the experiment's model",
    "random_seed": "is the experiment's seeds",
    "warmup_steps": "is a number of steps; a recipe has a fraction: warmup",
    "max_steps": "a recipe counts passes over the examples: epochs",
    "output_dir": "is made by the harness",
    "save_steps": "checkpoints are saved at each evaluation: evaluate_every",
    "gradient_checkpointing": "is not in a recipe; it changes memory and time, not what is learned",
}


def to_config(recipe: SFT) -> Exported:
    """Return the settings that train as `recipe` does. Model, data and output folder are left to the caller.

    Raises:
        InvalidExperiment: If Unsloth has no such adapter.
    """
    adapter, missed = recipe.adapter.for_tuners, []
    if adapter is None:
        raise InvalidExperiment(f"Unsloth trains LoRA, QLoRA and Full, not {recipe.adapter.name}")
    micro = recipe.micro_batch_size or recipe.batch_size
    training: Config = {
        "training_type": "full" if adapter.kind == "full" else "lora",
        "load_in_4bit": adapter.kind == "qlora",
        "num_epochs": max(1, round(recipe.epochs)),
        "learning_rate": recipe.rate,
        "batch_size": micro,
        "gradient_accumulation_steps": recipe.batch_size // micro,
        "warmup_steps": 0,
        "weight_decay": recipe.weight_decay,
        "packing": False,
        "train_on_completions": True,
    }
    if recipe.max_length is not None:
        training["max_seq_length"] = recipe.max_length
    else:
        missed.append(Unmapped("max_length=None", "there is no such thing there: rows are cut at 2,048 tokens"))
    whole = recipe.epochs == training["num_epochs"]
    told = (
        (whole, f"epochs={recipe.epochs:g}", "num_epochs is a whole number; it was rounded"),
        (recipe.schedule == "linear", f"schedule={recipe.schedule!r}", "the rate falls linearly there"),
        (not recipe.warmup, f"warmup={recipe.warmup:g}", "is a number of steps there: set warmup_steps"),
        (recipe.max_grad_norm == 1.0, f"max_grad_norm={recipe.max_grad_norm:g}", "has no counterpart there"),
        (recipe.patience is None, f"patience={recipe.patience}", "there are no evaluations in its training"),
    )
    missed += [Unmapped(key, why) for kept, key, why in told if not kept]
    config: Config = {"training": training}
    if adapter.kind != "full":
        alpha, lost = whole_alpha(adapter)
        missed.extend(lost)
        config["lora"] = {
            "lora_r": adapter.rank,
            "lora_alpha": alpha,
            "lora_dropout": adapter.dropout,
            "target_modules": _ALL if isinstance(adapter.targets, str) else ",".join(adapter.targets),
            **switches(adapter, _OPTIONS),
        }
    said = ("epochs", "max_length", "schedule", "warmup", "max_grad_norm", "patience")
    return Exported(config, (*missed, *unmapped_fields(recipe, (*_MAPPED, *said), _EXPORT_REASONS)))


def from_config(config: Mapping[str, object]) -> Imported:
    """Return the recipe that trains as these settings do, with Unsloth's defaults if they leave one out.

    Raises:
        InvalidExperiment: If a value is of no use.
    """
    settings = Settings(_flat(config), tool="Unsloth")
    micro = settings.count("training.batch_size", 2)
    batch = micro * settings.count("training.gradient_accumulation_steps", 4)
    recipe = SFT(
        adapter=_adapter(settings),
        epochs=settings.count("training.num_epochs", 3),
        learning_rate=settings.number("training.learning_rate", 2e-4),
        batch_size=batch,
        micro_batch_size=None if micro == batch else micro,
        max_length=settings.count("training.max_seq_length", 2048),
        warmup=0.0,
        schedule="linear",
        weight_decay=settings.number("training.weight_decay", 0.01),
        patience=None,
    )
    settings.expect(_AS_HERE)
    reasons = {key: why for name, why in _IMPORT_REASONS.items() for key in (name, f"training.{name}")}
    data = {key: "is the experiment's task" for key in _flat(config) if key.startswith("data.")}
    return Imported(recipe, settings.left(reasons | data))


# Settings that a recipe does not have because this package does no other.
_AS_HERE: dict[str, tuple[object, ...]] = {
    "training.packing": (False,),
    "training.train_on_completions": (True,),
    "training.warmup_steps": (0,),
    "training.max_steps": (0,),
    "training.save_steps": (0,),
    "lora.use_loftq": (False,),
    "lora.vision_all_linear": (False,),
    "lora.finetune_vision_layers": (True, False),
    "lora.finetune_language_layers": (True,),
    "lora.finetune_attention_modules": (True,),
    "lora.finetune_mlp_modules": (True,),
    "logging.enable_wandb": (False,),
    "logging.enable_tensorboard": (False,),
}


def _flat(config: Mapping[str, object]) -> Config:
    """Return section.key -> value."""
    flat: Config = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{key}": item for key, item in value.items()}
        else:
            flat[name] = value
    return flat


def _adapter(settings: Settings) -> Full | LowRank:
    quantised = settings.flag("training.load_in_4bit", True)
    kind = settings.text("training.training_type", "lora")
    if kind not in ("lora", "full"):
        raise settings.refused("training.training_type", kind, 'give "lora" or "full"')
    rank = settings.count("lora.lora_r", 64)
    alpha = settings.number("lora.lora_alpha", 16)
    dropout = settings.number("lora.lora_dropout", 0.0)
    targets = settings.names("lora.target_modules")
    adapter = QLoRA if quantised else LoRA
    options = {name: f"lora.{key}" for name, key in _OPTIONS.items()}
    extra = switched_on(settings, adapter, options)
    if kind == "full":
        return Full()
    return low_rank(
        adapter,
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=() if ",".join(targets) == _ALL else targets,
        **extra,
    )
