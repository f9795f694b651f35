"""Recipes and adapters: what is trained, declared as values that run nothing."""

from harness.recipes.adapters import MAM, Adapter, BitFit, Bottleneck, Full, LoRA, LowRank, QLoRA, UniPELT
from harness.recipes.dpo import DPO
from harness.recipes.kto import KTO
from harness.recipes.orpo import ORPO
from harness.recipes.reward_model import RewardModel
from harness.recipes.sft import SFT
from harness.recipes.steps import Steps
from harness.recipes.trained import Trained

__all__ = [
    "DPO",
    "KTO",
    "MAM",
    "ORPO",
    "SFT",
    "Adapter",
    "BitFit",
    "Bottleneck",
    "Full",
    "LoRA",
    "LowRank",
    "QLoRA",
    "RewardModel",
    "Steps",
    "Trained",
    "UniPELT",
]
