"""What is known when advice is asked for: plain values, as the run has them and as the store gives them back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.analysis.insights import Insights
from harness.analysis.slices import Slice
from harness.experiment.criteria import Finding
from harness.stats.wording import FRACTION, Counts, difference_text, rounded
from harness.types.protocols import Direction
from harness.types.samples import Check

Verdict = Literal["GO", "NO_GO", "INCONCLUSIVE", "INVALID"]
_FLOOR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The primary metric on the holdout: the best baseline's mean, the tuned one's, their difference (score units)."""

    metric: str
    better: Direction
    unit: str
    baseline_mean: float
    tuned_mean: float
    difference: float
    low: float
    high: float
    samples: int

    @property
    def shown(self) -> str:
        return difference_text(self.difference, self.low, self.high, unit=self.unit, of=Counts(self.samples))

    @property
    def path(self) -> str:
        """Return "exact_match from 68.0 % to 71.2 %"."""
        before, after = (rounded(mean, unit=self.unit) for mean in (self.baseline_mean, self.tuned_mean))
        return f"{self.metric} from {before} to {after}"

    @property
    def improvement(self) -> float:
        """The difference, more than 0 if the tuned system is better."""
        return self.difference if self.better == "higher" else -self.difference

    @property
    def near_the_floor(self) -> bool:
        """Neither system does the task: of a share, both are below a tenth."""
        shares = self.unit == FRACTION and self.better == "higher"
        return shares and max(self.baseline_mean, self.tuned_mean) < _FLOOR

    @property
    def against(self) -> str:
        """Return "exact_match 71.2 % against 68.0 %", the baseline's first."""
        before, after = (rounded(mean, unit=self.unit) for mean in (self.baseline_mean, self.tuned_mean))
        return f"{self.metric} {before} against {after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A decision and the evidence it stands on.

    Args:
        baseline: The best one.
        tuned: The chosen one, None if nothing was tuned or chosen.
        baseline_retrieves: It is prompted with passages.
        tuned_retrieves: So is the tuned one.
        moved: None before the holdout was opened.
        checks: Of every kind.
        samples: How many each split has, by its name.
    """

    verdict: Verdict
    baseline: str
    tuned: str | None = None
    post_hoc: bool = False
    baseline_retrieves: bool = False
    tuned_retrieves: bool = False
    moved: Moved | None = None
    findings: Sequence[Finding] = ()
    insights: Insights = field(default_factory=Insights)
    slices: Sequence[Slice] = ()
    checks: Sequence[Check] = ()
    samples: Mapping[str, int] = field(default_factory=dict)

    def failing(self, status: Literal["failed", "open"]) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.status == status)
