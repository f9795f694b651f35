"""Experiment -> Plan: systems, and stages with content keys; nothing runs."""

from harness.plan.keys import TRAINING_STACK, model_key, rendering_of
from harness.plan.plan import JUDGE_TOKENS, Plan
from harness.plan.training_steps import TuneStep

__all__ = [
    "JUDGE_TOKENS",
    "TRAINING_STACK",
    "Plan",
    "TuneStep",
    "model_key",
    "rendering_of",
]
