"""SFT <-> the YAML of `axolotl train`.

Source: the configuration schema of Axolotl 0.19 (axolotl/utils/schemas) and what its trainer builder fills in.
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
    epochs="num_epochs",
    micro="micro_batch_size",
    schedule="lr_scheduler",
    max_length="sequence_len",
    patience="early_stopping_patience",
    usual_epochs=1.0,
    usual_micro=1,
    usual_schedule="cosine",
    usual_length=512,
    usual_warmup=0.03,  # what the trainer builder takes where neither warmup_ratio nor warmup_steps is given
)
_OPTIONS = {"rslora": "peft_use_rslora", "dora": "peft_use_dora"}
_MAPPED = (*FIELDS, "backend", *MAPPED_ADAPTER)
_EXPORT_REASONS = {
    **export_reasons("axolotl"),
    "limit": "give a data set with fewer rows",
    "evaluate_on": "give fewer rows under test_datasets",
    "watch": "only the loss chooses a checkpoint there",
    "devices": "run it with --launcher torchrun",
    "strategy": "name a DeepSpeed file under deepspeed:, or an fsdp_config",
}
_IMPORT_REASONS = {
    **IMPORT_REASONS,
    "base_model": "is the experiment's model",
    "datasets": "is the experiment's task",
    "test_datasets": "is the task's Split.DEV",
    "val_set_size": "is the task's Split.DEV",
    "chat_template": "prompts are rendered by the tokenizer's own template",
    "fsdp": 'is SFT(devices=n, strategy="fsdp2")',
    "fsdp_config": 'is SFT(devices=n, strategy="fsdp2")',
    "evals_per_epoch": "is given in steps: eval_steps",
}


def to_config(recipe: SFT) -> Exported:
    """Return the settings that train as `recipe` does. Model, data and output folder are left to the caller.

    Raises:
        InvalidExperiment: If Axolotl has no such adapter.
    """
    adapter = recipe.adapter.for_tuners
    if adapter is None:
        raise InvalidExperiment(f"Axolotl trains LoRA, QLoRA and Full here, not {recipe.adapter.name}")
    missed: list[Unmapped] = []
    config: Config = {}
    if adapter.kind != "full":
        alpha, lost = whole_alpha(adapter)
        missed.extend(lost)
        quantised = adapter.kind == "qlora"
        config |= {
            "adapter": "qlora" if quantised else "lora",
            "load_in_4bit": quantised,
            "lora_r": adapter.rank,
            "lora_alpha": alpha,
            "lora_dropout": adapter.dropout,
            **(
                {"lora_target_linear": True}
                if isinstance(adapter.targets, str)
                else {"lora_target_modules": list(adapter.targets)}
            ),
            **switches(adapter, _OPTIONS),
        }
    if recipe.max_length is None:
        missed.append(
            Unmapped("max_length=None", "there is no such thing there: sequence_len is 512 where it is left out")
        )
    config |= {**write_schedule(recipe, _SCHEDULE), "optimizer": "adamw_torch_fused", "train_on_inputs": False}
    return Exported(config, (*missed, *unmapped_fields(recipe, _MAPPED, _EXPORT_REASONS)))


def from_config(config: Mapping[str, object]) -> Imported:
    """Return the recipe that trains as these settings do, with Axolotl's defaults if they leave one out.

    Raises:
        InvalidExperiment: If the adapter has no counterpart, or a value is of no use.
    """
    settings = Settings(config, tool="Axolotl")
    if "rl" in settings:
        raise settings.refused("rl", settings.value("rl"), "only supervised fine-tuning can be read")
    recipe = SFT(adapter=_adapter(settings), **read_schedule(settings, _SCHEDULE))  # type: ignore[arg-type]
    settings.expect(_AS_HERE)
    return Imported(recipe, settings.left(_IMPORT_REASONS))


# Settings that a recipe does not have because this package does no other.
_AS_HERE: dict[str, tuple[object, ...]] = {
    "optimizer": ("adamw_torch", "adamw_torch_fused"),
    "train_on_inputs": (False,),
    "sample_packing": (False,),
    "load_best_model_at_end": (True,),
    "load_in_8bit": (False,),
    "bnb_4bit_quant_type": ("nf4",),
    "bnb_4bit_use_double_quant": (True,),
}


def _adapter(settings: Settings) -> Full | LowRank:
    kind = settings.text("adapter", "")
    quantised = settings.flag("load_in_4bit", kind == "qlora")
    if not kind:
        if quantised:
            settings.put_back("load_in_4bit")
        return Full()
    if kind not in ("lora", "qlora"):
        raise settings.refused("adapter", kind, 'has no counterpart; give "lora" or "qlora", or leave it out')
    targets = settings.names("lora_target_modules")
    if settings.flag("lora_target_linear", False):
        targets = ()
    elif not targets:
        raise settings.refused("lora_target_linear", False, "give true, or lora_target_modules")
    adapter = QLoRA if quantised else LoRA
    return low_rank(
        adapter,
        rank=settings.count("lora_r", 8),
        alpha=settings.number("lora_alpha", 16),
        dropout=settings.number("lora_dropout", 0.0),
        targets=() if targets == ("all-linear",) else targets,
        **switched_on(settings, adapter, _OPTIONS),
    )
