"""Recipes and adapters: what is trained, declared as values that run nothing."""

from harness.recipes.adapters import Adapter, Full, LoRA, LowRank, QLoRA
from harness.recipes.dpo import DPO
from harness.recipes.kto import KTO
from harness.recipes.orpo import ORPO
from harness.recipes.reward_model import RewardModel
from harness.recipes.sft import SFT
from harness.recipes.trained import Trained

__all__ = ["DPO", "KTO", "ORPO", "SFT", "Adapter", "Full", "LoRA", "LowRank", "QLoRA", "RewardModel", "Trained"]
