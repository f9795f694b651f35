"""Criteria + comparisons + protocol findings -> Decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol, runtime_checkable

from harness.compare import Comparison


class Verdict(str, Enum):
    GO = "GO"
    NO_GO = "NO_GO"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one criterion says about the evidence.

    criterion: the rule in words. value, low, high, threshold: in the metric's units and its good direction as declared.
    sentence: for a reader, with numbers. needed_samples: holdout size that would decide with 80 % power, when open.
    """

    criterion: str
    metric: str
    status: Literal["met", "failed", "open"]
    value: float
    low: float
    high: float
    threshold: float
    sentence: str
    needed_samples: int | None = None


@runtime_checkable
class Criterion(Protocol):
    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics it needs; checked against `Experiment.metrics` at collection."""
        ...

    def judge(self, comparisons: Sequence[Comparison]) -> Finding: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...] = ()
