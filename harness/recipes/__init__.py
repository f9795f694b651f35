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
from harness.recipes.continual import EWC
from harness.recipes.dpo import DPO
from harness.recipes.graders import AnyGrader, Grader, JudgeGrade, Weighted
from harness.recipes.grpo import GRPO
from harness.recipes.kto import KTO
from harness.recipes.orpo import ORPO
from harness.recipes.ppo import PPO
from harness.recipes.reinforced import Reinforced
from harness.recipes.reward_model import RewardModel
from harness.recipes.rloo import RLOO
from harness.recipes.sft import SFT
from harness.recipes.steps import Steps
from harness.recipes.trained import Trained

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
