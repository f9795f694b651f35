"""Adapters: which weights a recipe trains, declared as values that run nothing."""

from harness.recipes.adapters.full import Full
from harness.recipes.adapters.low_rank import LoRA, LowRank, QLoRA
from harness.recipes.adapters.protocol import Adapter

__all__ = ["Adapter", "Full", "LoRA", "LowRank", "QLoRA"]
