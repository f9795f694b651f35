"""Adapters: which weights a recipe trains, declared as values that run nothing."""

from harness.recipes.adapters.ada_lora import AdaLoRA
from harness.recipes.adapters.bit_fit import BitFit
from harness.recipes.adapters.bottleneck import MAM, Bottleneck, UniPELT
from harness.recipes.adapters.full import Full
from harness.recipes.adapters.ia3 import IA3
from harness.recipes.adapters.low_rank import DoRA, LoRA, LowRank, QLoRA
from harness.recipes.adapters.peft_config import PEFT
from harness.recipes.adapters.protocol import Adapter
from harness.recipes.adapters.virtual_tokens import PrefixTuning, PromptTuning, PTuning, PTuningV2, VirtualTokens

__all__ = [
    "IA3",
    "MAM",
    "PEFT",
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
    "UniPELT",
    "VirtualTokens",
]
