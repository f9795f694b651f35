"""Score rows of two systems -> one paired Comparison a metric."""

from dataclasses import dataclass

from harness.protocols import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of the tuned system against one baseline on the same samples.

    Means and the difference (tuned minus baseline) are in score units; low and high bound the difference with
    95 % confidence, tuned_low and tuned_high the tuned mean, baseline_low and baseline_high the baseline's.
    spread: standard deviation of the per-cluster (or per-sample) differences, for the needed sample count.
    method: interval and test in words, with the unit of analysis.
    """

    metric: str
    better: Direction
    split: str
    baseline: str
    tuned: str
    baseline_mean: float
    baseline_low: float
    baseline_high: float
    tuned_mean: float
    tuned_low: float
    tuned_high: float
    difference: float
    low: float
    high: float
    p_value: float
    samples: int
    seeds: int
    spread: float
    method: str
    notes: tuple[str, ...] = ()
