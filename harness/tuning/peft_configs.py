"""Each adapter that PEFT carries, in PEFT's own words."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Any

from peft import (
    AdaLoraConfig,
    EvaConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftType,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
)
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from harness.errors import StageFailed
from harness.recipes import (
    IA3,
    PEFT,
    AdaLoRA,
    LoRA,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
    VirtualTokens,
)
from harness.recipes.adapters import Adapter

_TASK = "CAUSAL_LM"
# The allocator's schedule is set when training begins and the number of steps is known.
_STEPS_UNKNOWN = 1 << 20
# What PEFT does to the weights at the start; LoftQ is done here, PEFT's own needs a GPU.
_INIT: dict[str, bool | str] = {"default": True, "pissa": "pissa", "olora": "olora", "loftq": True, "eva": "eva"}


def peft_config(adapter: Adapter, *, prepared: bool = True) -> PeftConfig | None:
    """Return PEFT's config of `adapter`, None where PEFT does not carry it.

    prepared: False starts from random weights whatever the adapter says, for networks without numbers or data.
    """
    if isinstance(adapter, LoRA):
        return _lora(adapter, init=_INIT[adapter.init] if prepared else True)
    if isinstance(adapter, QLoRA):
        return _lora(LoRA(adapter.rank, adapter.alpha, adapter.dropout, adapter.targets), init=True)
    if isinstance(adapter, AdaLoRA):
        return _ada_lora(adapter)
    if isinstance(adapter, IA3):
        return IA3Config(
            task_type=_TASK,
            target_modules=None if adapter.targets is None else list(adapter.targets),
            feedforward_modules=None if adapter.targets is None else list(adapter.feedforward or ()),
        )
    if isinstance(adapter, VirtualTokens):
        return _virtual(adapter)
    if isinstance(adapter, PEFT):
        config = _declared(adapter.config) if isinstance(adapter.config, Mapping) else deepcopy(adapter.config)
        config.task_type = config.task_type or _TASK
        return config
    return None


def _declared(told: Mapping[str, object]) -> PeftConfig:
    """Return the config that a mapping declares, with the library's defaults for what it leaves out."""
    kind, rest = str(told["peft_type"]).upper(), {name: value for name, value in told.items() if name != "peft_type"}
    if kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
        kinds = sorted(one.value for one in PEFT_TYPE_TO_CONFIG_MAPPING)
        raise StageFailed(f"peft_type={kind!r} is no method of peft; give one of {', '.join(kinds)}")
    made = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind)]
    try:
        return made(**rest)
    except (TypeError, ValueError) as error:
        known = ", ".join(sorted(one.name for one in fields(made) if one.init))
        raise StageFailed(f"PEFT({kind}): {error}; its settings are {known}") from error


def _targets(given: str | tuple[str, ...]) -> str | list[str]:
    return given if isinstance(given, str) else list(given)


def _lora(adapter: LoRA, *, init: bool | str) -> LoraConfig:
    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.scale,
        lora_dropout=adapter.dropout,
        target_modules=_targets(adapter.targets),
        use_rslora=adapter.rslora,
        use_dora=adapter.dora,
        init_lora_weights=init,
        # All tokens are looked at: answers alone are often fewer than an update is wide.
        eva_config=EvaConfig(use_label_mask=False) if init == "eva" else None,
        task_type=_TASK,
    )


def _ada_lora(adapter: AdaLoRA) -> AdaLoraConfig:
    return AdaLoraConfig(
        init_r=adapter.initial_rank,
        target_r=adapter.rank,
        lora_alpha=adapter.scale,
        lora_dropout=adapter.dropout,
        target_modules=_targets(adapter.targets),
        deltaT=adapter.every,
        orth_reg_weight=adapter.orthogonality,
        total_step=_STEPS_UNKNOWN,
        task_type=_TASK,
    )


def _virtual(adapter: VirtualTokens) -> PeftConfig:
    common: dict[str, Any] = {"task_type": _TASK, "num_virtual_tokens": adapter.tokens}
    match adapter:
        case PromptTuning():
            drawn = "SAMPLE_VOCAB" if adapter.text is None else "RANDOM"  # a text's embeddings are put in afterwards
            return PromptTuningConfig(**common, prompt_tuning_init=drawn)
        case PTuning():
            kind = adapter.encoder.upper()
            layers = {} if kind == "MLP" else {"encoder_num_layers": 2}
            return PromptEncoderConfig(
                **common, encoder_reparameterization_type=kind, encoder_hidden_size=adapter.hidden, **layers
            )
        case PrefixTuning():
            return PrefixTuningConfig(
                **common, prefix_projection=True, encoder_hidden_size=adapter.width, init_weights="zero"
            )
        case PTuningV2():
            return PrefixTuningConfig(**common, prefix_projection=False, init_weights="zero")
