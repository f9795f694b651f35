"""What tuning forgot: the guards' scores beside the gain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.estimate import Estimate
from harness.stats.compare import Comparison
from harness.stats.wording import FRACTION, change, confidence, rounded
from harness.types.protocols import Direction

Status = Literal["met", "failed", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """One guard: the untuned system's mean, the tuned one's, and their difference in score units.

    Args:
        share: The part of the base's score that is left, 1 for all of it; where lower is better (perplexity), base
            over tuned. The base's score is taken as measured: the doubt is that of the difference. None if a
            share means nothing: the base has 0 or less.
        margin: What the guard allows, >= 0.
        status: Is the whole interval within the margin ("met"), beyond it ("failed"), or neither ("open").
    """

    guard: str
    better: Direction
    unit: str
    samples: int
    base_mean: float
    tuned_mean: float
    difference: Estimate
    share: Estimate | None
    margin: float
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The guards beside the gain on the task itself (gain_*; empty metric and None if nothing was compared)."""

    level: float
    gain_metric: str
    gain_unit: str
    gain: Estimate | None
    rows: tuple[Retained, ...]
    sentence: str


def retention(guards: Sequence[tuple[Comparison, float]], *, gain: Comparison | None) -> Retention | None:
    """Return what is left of each guard's score, beside the gain; None without guards.

    Args:
        guards: Each guard's comparison (untuned against tuned) and its margin.
        gain: The primary metric's comparison.
    """
    if not guards:
        return None
    rows = tuple(_retained(comparison, margin) for comparison, margin in guards)
    level = gain.level if gain else guards[0][0].level
    gained = Estimate(gain.difference, gain.low, gain.high) if gain else None
    bought = (
        f"{gain.metric} changed by {gained.as_difference(gain.unit)} on the task itself. "
        if gain is not None and gained is not None
        else ""
    )
    return Retention(
        level=level,
        gain_metric=gain.metric if gain else "",
        gain_unit=gain.unit if gain else "",
        gain=gained,
        rows=rows,
        sentence=f"{bought}{' '.join(_said(row) for row in rows)} Intervals are at {confidence(level)}.",
    )


def _retained(comparison: Comparison, margin: float) -> Retained:
    c, sign = comparison, 1 if comparison.better == "higher" else -1
    low, high = sorted((sign * c.low, sign * c.high))
    return Retained(
        guard=c.metric,
        better=c.better,
        unit=c.unit,
        samples=c.samples,
        base_mean=c.baseline_mean,
        tuned_mean=c.tuned_mean,
        difference=Estimate(c.difference, c.low, c.high),
        share=_share(c),
        margin=margin,
        status="met" if low >= -margin else "failed" if high < -margin else "open",
    )


def _share(comparison: Comparison) -> Estimate | None:
    base = comparison.baseline_mean
    if base <= 0:
        return None
    after = [base + moved for moved in (comparison.difference, comparison.low, comparison.high)]
    if comparison.better == "higher":
        shares = [score / base for score in after]
    else:
        shares = [base / score if score > 0 else math.inf for score in after]
    return Estimate(shares[0], min(shares), max(shares))


def _said(row: Retained) -> str:
    before, after = (rounded(mean, unit=row.unit) for mean in (row.base_mean, row.tuned_mean))
    left = "" if row.share is None else f", {row.share.as_mean(FRACTION)} of the base's score"
    allowed = change(row.margin, unit=row.unit, sign=False)
    verb = "fall" if row.better == "higher" else "rise"
    said = {
        "met": f"within the allowed {verb} of {allowed}",
        "failed": f"beyond the allowed {verb} of {allowed}",
        "open": f"not shown to be within the allowed {verb} of {allowed}",
    }[row.status]
    return f"{row.guard} went from {before} to {after} ({row.difference.as_difference(row.unit)}{left}), {said}."
