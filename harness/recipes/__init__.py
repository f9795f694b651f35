"""Recipes and adapters: what is trained, declared as values that run nothing."""

from harness.recipes.adapters import (
    IA3,
    MAM,
    PEFT,
    AdaLoRA,
    Adapter,
    BitFit,
    Bottleneck,
    DoRA,
    Full,
    LoRA,
    LowRank,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
    UniPELT,
    VirtualTokens,
)
from harness.recipes.dpo import DPO
from harness.recipes.kto import KTO
from harness.recipes.orpo import ORPO
from harness.recipes.reward_model import RewardModel
from harness.recipes.sft import SFT
from harness.recipes.steps import Steps
from harness.recipes.trained import Trained

__all__ = [
    "DPO",
    "IA3",
    "KTO",
    "MAM",
    "ORPO",
    "PEFT",
    "SFT",
    "AdaLoRA",
    "Adapter",
    "BitFit",
    "Bottleneck",
    "DoRA",
    "Full",
    "LoRA",
    "LowRank",
    "PTuning",
    "PTuningV2",
    "PrefixTuning",
    "PromptTuning",
    "QLoRA",
    "RewardModel",
    "Steps",
    "Trained",
    "UniPELT",
    "VirtualTokens",
]
