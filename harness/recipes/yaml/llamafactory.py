"""SFT <-> the YAML of `llamafactory-cli train`.

Source: the argument classes of LLaMA-Factory 0.9.5 (llamafactory/hparams) and of transformers 5.6.
"""

from collections.abc import Mapping

from harness.errors import InvalidExperiment
from harness.recipes.adapters import Full, LoRA, LowRank, QLoRA
from harness.recipes.sft import SFT
from harness.recipes.yaml.mapping import (
    FIELDS,
    IMPORT_REASONS,
    MAPPED_ADAPTER,
    Config,
    Exported,
    Imported,
    Schedule,
    Settings,
    Unmapped,
    export_reasons,
    low_rank,
    read_schedule,
    switched_on,
    switches,
    unmapped_fields,
    whole_alpha,
    write_schedule,
)

_SCHEDULE = Schedule(
    epochs="num_train_epochs",
    micro="per_device_train_batch_size",
    schedule="lr_scheduler_type",
    max_length="cutoff_len",
    patience="early_stopping_steps",
    usual_epochs=3.0,
    usual_micro=8,
    usual_schedule="linear",
    usual_length=2048,
    usual_warmup=0.0,
)
_OPTIONS = {"rslora": "use_rslora", "dora": "use_dora"}
_MAPPED = (*FIELDS, "limit", "backend", *MAPPED_ADAPTER)
_EXPORT_REASONS = {
    **export_reasons("llamafactory"),
    "evaluate_on": "max_samples would limit the training examples too; give a smaller eval_dataset",
    "watch": "only the loss chooses a checkpoint there",
    "devices": "run it with FORCE_TORCHRUN=1 and NPROC_PER_NODE",
    "strategy": "name a DeepSpeed file under deepspeed:",
}
_IMPORT_REASONS = {
    **IMPORT_REASONS,
    "model_name_or_path": "is the experiment's model",
    "dataset": "is the experiment's task",
    "eval_dataset": "is the task's Split.DEV",
    "val_size": "is the task's Split.DEV",
    "template": "prompts are rendered by the tokenizer's own template",
    "pure_bf16": "trained weights stay float32",
}


def to_config(recipe: SFT) -> Exported:
    """Return the settings that train as `recipe` does. Model, data and output folder are left to the caller.

    Raises:
        InvalidExperiment: If LLaMA-Factory has no such adapter.
    """
    adapter = recipe.adapter.for_tuners
    if adapter is None:
        raise InvalidExperiment(f"LLaMA-Factory trains LoRA, QLoRA and Full, not {recipe.adapter.name}")
    missed: list[Unmapped] = []
    config: Config = {"stage": "sft", "do_train": True}
    if adapter.kind == "full":
        config["finetuning_type"] = "full"
    else:
        alpha, lost = whole_alpha(adapter)
        missed.extend(lost)
        config |= {
            "finetuning_type": "lora",
            "lora_rank": adapter.rank,
            "lora_alpha": alpha,
            "lora_dropout": adapter.dropout,
            "lora_target": "all" if isinstance(adapter.targets, str) else ",".join(adapter.targets),
            **switches(adapter, _OPTIONS),
        }
        if adapter.kind == "qlora":
            config |= {"quantization_bit": 4, "quantization_type": "nf4", "double_quantization": True}
    if recipe.max_length is None:
        missed.append(Unmapped("max_length=None", "there is no such thing there: rows are cut at 2,048 tokens"))
    config |= {
        **write_schedule(recipe, _SCHEDULE),
        "optim": "adamw_torch_fused",
        "eval_strategy": "steps",
        "save_strategy": "steps",
    }
    if recipe.limit is not None:
        config["max_samples"] = recipe.limit
    return Exported(config, (*missed, *unmapped_fields(recipe, _MAPPED, _EXPORT_REASONS)))


def from_config(config: Mapping[str, object]) -> Imported:
    """Return the recipe that trains as these settings do, with LLaMA-Factory's defaults if they leave one out.

    Raises:
        InvalidExperiment: If stage or adapter have no counterpart, or a value is of no use.
    """
    settings = Settings(config, tool="LLaMA-Factory")
    _expect(settings, "stage", "sft", "only supervised fine-tuning can be read")
    _expect(settings, "do_train", "True", "it does not train")
    limit = settings.count("max_samples", 1) if "max_samples" in settings else None
    recipe = SFT(adapter=_adapter(settings), limit=limit, **read_schedule(settings, _SCHEDULE))  # type: ignore[arg-type]
    settings.expect(_AS_HERE)
    return Imported(recipe, settings.left(_IMPORT_REASONS))


# Settings that a recipe does not have because this package does no other.
_AS_HERE: dict[str, tuple[object, ...]] = {
    "optim": ("adamw_torch", "adamw_torch_fused"),
    "train_on_prompt": (False,),
    "packing": (False,),
    "eval_strategy": ("steps",),
    "save_strategy": ("steps",),
    "load_best_model_at_end": (True,),
    "report_to": ("none",),
    "quantization_type": ("nf4",),
    "quantization_method": ("bnb", "bitsandbytes"),
    "double_quantization": (True,),
}


def _expect(settings: Settings, key: str, wanted: str, way_out: str) -> None:
    found = settings.text(key, wanted)
    if found != wanted:
        raise settings.refused(key, found, way_out)


def _adapter(settings: Settings) -> Full | LowRank:
    kind = settings.text("finetuning_type", "lora")
    if kind == "full":
        return Full()
    if kind != "lora":
        raise settings.refused("finetuning_type", kind, 'has no counterpart; give "lora" or "full"')
    bits = settings.count("quantization_bit", 16)
    if bits not in (4, 16):
        raise settings.refused("quantization_bit", bits, "has no counterpart; give 4, or leave it out")
    rank = settings.count("lora_rank", 8)
    targets = settings.names("lora_target")
    adapter = QLoRA if bits == 4 else LoRA
    return low_rank(
        adapter,
        rank=rank,
        alpha=settings.number("lora_alpha", 2 * rank),
        dropout=settings.number("lora_dropout", 0.0),
        targets=() if targets == ("all",) else targets,
        **switched_on(settings, adapter, _OPTIONS),
    )
