"""Adapters: which weights a recipe trains, declared as values that run nothing."""

from harness.recipes.adapters.low_rank import AdaLoRA, DoRA, LoRA, LowRank, QLoRA
from harness.recipes.adapters.other import IA3, MAM, PEFT, BitFit, Bottleneck, Full, UniPELT
from harness.recipes.adapters.protocol import Adapter, AdapterSupport, TunerAdapter, support_of
from harness.recipes.adapters.virtual_tokens import PrefixTuning, PromptTuning, PTuning, PTuningV2, VirtualTokens

__all__ = [
    "IA3",
    "MAM",
    "PEFT",
    "AdaLoRA",
    "Adapter",
    "AdapterSupport",
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
    "TunerAdapter",
    "UniPELT",
    "VirtualTokens",
    "support_of",
]
