"""Recipes and adapters: what is trained, declared as values that run nothing."""

from harness.recipes.adapters import Adapter, Full, LoRA, LowRank, QLoRA
from harness.recipes.sft import SFT
from harness.recipes.trained import Trained

__all__ = ["SFT", "Adapter", "Full", "LoRA", "LowRank", "QLoRA", "Trained"]
