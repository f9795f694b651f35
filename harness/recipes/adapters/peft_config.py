"""Any other method of the PEFT library, by its own config."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, ClassVar

from harness.errors import InvalidExperiment

# Methods of peft 0.21 whose update is no update of weights.
_NEVER_MERGED = frozenset(
    {"PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE"}
    | {"ADAPTION_PROMPT", "POLY", "LILY", "XLORA", "BEFT"}
)
# Starts of a LoRA that change the model's own weights, or need training rows.
_MOVING_STARTS = ("pissa", "olora", "corda", "loftq", "eva", "lora_ga")


@dataclass(frozen=True)
class PEFT:
    """The method of a PEFT config: PEFT(peft.VeraConfig(r=64, target_modules="all-linear")).

    config: any of peft's config objects, or the same as a mapping, {"peft_type": "VERA", "r": 64, ...}, which costs no
    import of peft where experiments are collected; what it says is part of the recipe's key. The method has no
    learning rate of its own here: 1e-3 is used where the recipe gives none, and a search tries 1e-4 to 1e-1.
    """

    config: Any = field(compare=False, metadata={"key": False})
    kind: str = field(init=False, default="")
    settings: str = field(init=False, default="", repr=False)

    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (1e-4, 1e-1)

    def __post_init__(self) -> None:
        if isinstance(self.config, type):
            name = self.config.__name__
            raise InvalidExperiment(f"PEFT({name}) is given a class; write PEFT({name}(...))")
        mapped = isinstance(self.config, Mapping)
        told: dict[str, Any] = dict(self.config) if mapped else getattr(self.config, "to_dict", dict)()
        if not told.get("peft_type"):
            raise InvalidExperiment(
                f"PEFT({type(self.config).__name__}) is given no config of peft; write PEFT(peft.VeraConfig(...)) or "
                'another of its configs, or PEFT({"peft_type": "VERA", ...})'
            )
        object.__setattr__(self, "kind", str(getattr(told["peft_type"], "value", told["peft_type"])))
        _refuse_half(self.kind, told)
        object.__setattr__(self, "settings", json.dumps(told, sort_keys=True, default=_plain))

    @property
    def merges(self) -> bool:
        return self.kind not in _NEVER_MERGED

    @property
    def name(self) -> str:
        return f"peft-{self.kind.lower().replace('_', '-')}-{sha256(self.settings.encode()).hexdigest()[:6]}"


def _refuse_half(kind: str, told: dict[str, Any]) -> None:
    """Raise InvalidExperiment for what PEFT's config alone does not carry out."""
    if kind == "ADALORA":
        raise InvalidExperiment(
            "PEFT(AdaLoraConfig(...)) hands out no ranks, since that is left to the training loop; write AdaLoRA(...)"
        )
    start = told.get("init_lora_weights")
    if kind == "LORA" and isinstance(start, str) and start.lower().startswith(_MOVING_STARTS):
        raise InvalidExperiment(
            f"PEFT(LoraConfig(init_lora_weights={start!r})) starts from the model's weights or from data, which a "
            'config alone does not bring; write LoRA(init="pissa"), "olora", "loftq" or "eva"'
        )


def _plain(value: object) -> object:
    """Return a JSON value of what stands in a config besides numbers and text."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)
