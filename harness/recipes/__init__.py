"""Recipes and adapters: what is trained, declared as values that run nothing."""

from harness.recipes.adapters import (
    IA3,
    MAM,
    PEFT,
    AdaLoRA,
    Adapter,
    AdapterSupport,
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
from harness.recipes.base import Trained
from harness.recipes.continual import EWC
from harness.recipes.graders import AnyGrader, Grader, JudgeGrade, Weighted
from harness.recipes.preference import DPO, KTO, ORPO, RewardModel
from harness.recipes.reinforcement import GRPO, PPO, RLOO, Reinforced
from harness.recipes.sft import SFT
from harness.recipes.steps import Steps

__all__ = [
    "DPO",
    "EWC",
    "GRPO",
    "IA3",
    "KTO",
    "MAM",
    "ORPO",
    "PEFT",
    "PPO",
    "RLOO",
    "SFT",
    "AdaLoRA",
    "Adapter",
    "AdapterSupport",
    "AnyGrader",
    "BitFit",
    "Bottleneck",
    "DoRA",
    "Full",
    "Grader",
    "JudgeGrade",
    "LoRA",
    "LowRank",
    "PTuning",
    "PTuningV2",
    "PrefixTuning",
    "PromptTuning",
    "QLoRA",
    "Reinforced",
    "RewardModel",
    "Steps",
    "Trained",
    "UniPELT",
    "VirtualTokens",
    "Weighted",
]
