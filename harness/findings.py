"""What a rule says about one comparison: an interval against a threshold, in words and in samples that would decide."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from harness.compare import DEFAULT_LEVEL, Comparison
from harness.protocols import Direction
from harness.stats.power import needed_samples, needed_seeds
from harness.stats.wording import about, amount, confidence, count, difference_text, mean_text, rounded, span

Status = Literal["met", "failed", "open"]
Side = Literal["above", "below"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one criterion says about the evidence.

    criterion: the rule in words. value, low, high: the difference (tuned minus baseline), or the tuned mean where
    the rule is about that, in score units as measured; threshold: on the same scale. good_side: where the interval
    must lie. unit: as in Comparison. sentence: for a reader, with numbers. needed_samples: holdout size that would
    decide with 80 % power, when open; None where more samples would not. level: confidence of the interval.
    """

    criterion: str
    metric: str
    status: Status
    value: float
    low: float
    high: float
    threshold: float
    sentence: str
    needed_samples: int | None = None
    good_side: Side = "above"
    unit: str = ""
    level: float = DEFAULT_LEVEL


def about_difference(comparison: Comparison, demand: str, threshold: float, *, beyond: bool = False) -> Finding:
    """Return the finding that the difference is on the good side of `threshold`, which is `demand` in words.

    beyond: the threshold itself is not good enough, as for a gain of 0.
    """
    c, unit, good_side = comparison, comparison.unit, _good_side(comparison.better)
    shown = difference_text(c.difference, c.low, c.high, unit=unit, samples=c.samples, seeds=c.seeds, groups=c.groups)
    before, after = rounded(c.baseline_mean, unit=unit), rounded(c.tuned_mean, unit=unit)
    status = _status(c.low, c.high, threshold, good_side, beyond=beyond)
    distance = abs(c.difference - threshold)
    needed, outlook = _outlook(c, distance, c.spread) if status == "open" else (None, "")
    return Finding(
        criterion=f"{c.metric}: {demand}",
        metric=c.metric,
        status=status,
        value=c.difference,
        low=c.low,
        high=c.high,
        threshold=threshold,
        sentence=f"{c.metric} went from {before} to {after}: {shown}. {_conclusion(status, demand, c.level)}{outlook}",
        needed_samples=needed,
        good_side=good_side,
        unit=unit,
        level=c.level,
    )


def about_mean(comparison: Comparison, threshold: float, good_side: Side) -> Finding:
    """Return the finding that the tuned system's own mean is on the good side of `threshold`."""
    c, unit = comparison, comparison.unit
    shown = mean_text(
        c.tuned_mean, c.tuned_low, c.tuned_high, unit=unit, samples=c.samples, seeds=c.seeds, groups=c.groups
    )
    demand = f"at {'least' if good_side == 'above' else 'most'} {amount(threshold, unit=unit)}"
    status = _status(c.tuned_low, c.tuned_high, threshold, good_side)
    # The side towards the threshold: intervals near 0 and 1 are lopsided.
    side = c.tuned_mean - c.tuned_low if threshold < c.tuned_mean else c.tuned_high - c.tuned_mean
    spread = side / NormalDist().inv_cdf(0.5 + c.level / 2) * math.sqrt(c.samples)
    needed, outlook = _outlook(c, abs(c.tuned_mean - threshold), spread) if status == "open" else (None, "")
    return Finding(
        criterion=f"{c.metric}: {demand}",
        metric=c.metric,
        status=status,
        value=c.tuned_mean,
        low=c.tuned_low,
        high=c.tuned_high,
        threshold=threshold,
        sentence=f"{c.metric} of {c.tuned} is {shown}. {_conclusion(status, demand, c.level)}{outlook}",
        needed_samples=needed,
        good_side=good_side,
        unit=unit,
        level=c.level,
    )


def about_break_even(comparison: Comparison, requests: float) -> Finding:
    """Return the finding that training has paid for itself within `requests`: the whole interval lies there."""
    c = comparison
    demand = f"payback within {amount(requests, unit='requests')}"
    shown = f"about {about(c.tuned_mean)} requests{span(about(c.tuned_low), about(c.tuned_high))}"
    said = (
        f"Training has paid for itself after {shown}." if c.tuned_mean < math.inf else "Training never pays for itself."
    )
    status = _status(c.tuned_low, c.tuned_high, requests, "below")
    conclusion = _conclusion(status, demand, c.level).rstrip(".")
    return Finding(
        criterion=f"{c.metric}: {demand}",
        metric=c.metric,
        status=status,
        value=c.tuned_mean,
        low=c.tuned_low,
        high=c.tuned_high,
        threshold=requests,
        sentence=f"{said} {conclusion}.",
        good_side="below",
        unit="requests",
        level=c.level,
    )


def _status(low: float, high: float, threshold: float, good_side: Side, *, beyond: bool = False) -> Status:
    """beyond: the threshold itself is not good enough, as for a gain of 0."""
    if good_side == "below":
        low, high, threshold = -high, -low, -threshold
    if low > threshold or (low == threshold and not beyond):
        return "met"
    return "failed" if high < threshold or (high == threshold and beyond) else "open"


def _conclusion(status: Status, demand: str, level: float) -> str:
    interval = f"{confidence(level)} interval"
    if status == "met":
        return f"The whole {interval} shows {demand}."
    if status == "failed":
        return f"The whole {interval} misses {demand}."
    return f"The {interval} neither shows nor rules out {demand}"


def _outlook(comparison: Comparison, distance: float, spread: float) -> tuple[int | None, str]:
    """Return the holdout size that would decide, and the end of the sentence that says so."""
    needed = needed_samples(distance, spread, level=comparison.level)
    several = comparison.seeds > 1
    seeds = needed_seeds(distance, comparison.seed_spread, level=comparison.level) if several else None
    more_seeds = f"about {count(seeds, 'seed')}" if seeds is not None and seeds > comparison.seeds else ""
    if needed is not None and needed <= comparison.samples:
        # The samples suffice by themselves: it is the seeds, or the caution of a small-sample interval.
        needed = None if more_seeds else comparison.samples + 1
    if needed is None:
        end = f"it would take {more_seeds}." if more_seeds else "no number of samples would decide at this result."
        return None, f"; {end}"
    samples = f"about {count(needed, 'holdout sample')}"
    both = f"{samples} and {more_seeds}" if more_seeds else samples
    return needed, f"; {both} would decide (80 % power at the observed difference and spread)."


def _good_side(better: Direction) -> Side:
    return "above" if better == "higher" else "below"
