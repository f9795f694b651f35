"""Decide whether to fine-tune a language model: baselines first, a locked holdout, a verdict with its evidence.

What an experiment file may import. Importing this package loads no torch, transformers or duckdb.
"""

from harness.criteria import AtLeast, AtMost, BreakEven, Gain, Guard, NoWorse
from harness.data.dataset_task import DatasetTask
from harness.data.lm_eval_task import LmEvalTask
from harness.data.text_task import TextTask
from harness.errors import (
    HarnessError,
    Incomparable,
    InvalidData,
    InvalidEvidence,
    InvalidExperiment,
    MissingPackage,
    NotFingerprintable,
    StageFailed,
)
from harness.experiment import Experiment
from harness.metrics import (
    Accuracy,
    BERTScore,
    ExactMatch,
    HFMetric,
    JsonFields,
    Latency,
    MacroF1,
    Numeric,
    Perplexity,
    Preference,
    Regex,
    SafetyRules,
    TokensIn,
    TokensOut,
)
from harness.models import Costs, Endpoint, Model
from harness.prompting import RAG, FewShot, ZeroShot
from harness.recipes import DPO, KTO, MAM, ORPO, SFT, BitFit, Bottleneck, Full, LoRA, QLoRA, RewardModel, Steps, UniPELT
from harness.samples import Answer, Message, Passage, Sample, Sampling, Score, Split
from harness.verdicts import Inconclusive, NoGo

__all__ = [
    "DPO",
    "KTO",
    "MAM",
    "ORPO",
    "RAG",
    "SFT",
    "Accuracy",
    "Answer",
    "AtLeast",
    "AtMost",
    "BERTScore",
    "BitFit",
    "Bottleneck",
    "BreakEven",
    "Costs",
    "DatasetTask",
    "Endpoint",
    "ExactMatch",
    "Experiment",
    "FewShot",
    "Full",
    "Gain",
    "Guard",
    "HFMetric",
    "HarnessError",
    "Incomparable",
    "Inconclusive",
    "InvalidData",
    "InvalidEvidence",
    "InvalidExperiment",
    "JsonFields",
    "Latency",
    "LmEvalTask",
    "LoRA",
    "MacroF1",
    "Message",
    "MissingPackage",
    "Model",
    "NoGo",
    "NoWorse",
    "NotFingerprintable",
    "Numeric",
    "Passage",
    "Perplexity",
    "Preference",
    "QLoRA",
    "Regex",
    "RewardModel",
    "SafetyRules",
    "Sample",
    "Sampling",
    "Score",
    "Split",
    "StageFailed",
    "Steps",
    "TextTask",
    "TokensIn",
    "TokensOut",
    "UniPELT",
    "ZeroShot",
]
