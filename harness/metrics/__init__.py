"""Metrics: one score for each sample, and a statistic of the set if the mean of scores is not the metric."""

from harness.metrics.exact import Accuracy, ExactMatch, Regex
from harness.metrics.json_fields import JsonFields
from harness.metrics.macro_f1 import MacroF1
from harness.metrics.model_based import BERTScore, HFMetric
from harness.metrics.numeric import Numeric
from harness.metrics.overlap import Chrf, Rouge
from harness.metrics.perplexity import Perplexity
from harness.metrics.preference import Preference
from harness.metrics.safety_rules import SafetyRules
from harness.metrics.usage import Cost, Latency, TokensIn, TokensOut

__all__ = [
    "Accuracy",
    "BERTScore",
    "Chrf",
    "Cost",
    "ExactMatch",
    "HFMetric",
    "JsonFields",
    "Latency",
    "MacroF1",
    "Numeric",
    "Perplexity",
    "Preference",
    "Regex",
    "Rouge",
    "SafetyRules",
    "TokensIn",
    "TokensOut",
]
