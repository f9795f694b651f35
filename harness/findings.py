"""What a rule says about one comparison: an interval against a threshold, in words and in samples that would decide."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.compare import DEFAULT_LEVEL, SECONDS, Comparison
from harness.protocols import Direction
from harness.stats.intervals import EVERYTHING, Interval
from harness.stats.power import needed_seeds
from harness.stats.projection import At, Projection, units_that_decide
from harness.stats.wording import about, amount, confidence, count, difference_text, mean_text, rounded, span

Status = Literal["met", "failed", "open"]
Side = Literal["above", "below"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one criterion says about the evidence.

    criterion: the rule in words. value, low, high: the difference (tuned minus baseline), or the tuned mean where
    the rule is about that, in score units as measured; threshold: on the same scale. good_side: where the interval
    must lie. unit: as in Comparison. sentence: for a reader, with numbers. needed_samples: holdout size at which the
    same interval would decide if the samples to come are like those seen, when open; None where more samples would
    not. level: confidence of the interval.
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
    needed, outlook = None, ""
    if status == "open":
        asked = _Asked(threshold, good_side, beyond, value=c.difference, interval=Interval(c.low, c.high))
        needed, outlook = _outlook(c, asked, lambda projection: projection.difference)
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
    needed, outlook = None, ""
    if status == "open":
        asked = _Asked(threshold, good_side, value=c.tuned_mean, interval=Interval(c.tuned_low, c.tuned_high))
        needed, outlook = _outlook(c, asked, lambda projection: projection.own)
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
    if c.tuned_low == math.inf:
        said = "Training never pays for itself."
    elif c.tuned_mean == math.inf:
        said = "Training has not paid for itself in what was measured."
    elif c.tuned_low == 0:
        said = f"Training would have paid for itself after about {about(c.tuned_mean)} requests."
    else:
        said = f"Training has paid for itself after {shown}."
    status = _status(c.tuned_low, c.tuned_high, requests, "below")
    conclusion = _conclusion(status, demand, c.level).rstrip(".")
    needed, outlook = None, "."
    if status == "open" and c.projection is not None:
        asked = _Asked(requests, "below", value=c.tuned_mean, interval=Interval(c.tuned_low, c.tuned_high))
        needed, outlook = _outlook(c, asked, lambda projection: projection.own)
    return Finding(
        criterion=f"{c.metric}: {demand}",
        metric=c.metric,
        status=status,
        value=c.tuned_mean,
        low=c.tuned_low,
        high=c.tuned_high,
        threshold=requests,
        sentence=" ".join([f"{said} {conclusion}{outlook}", *(f"{note[0].upper()}{note[1:]}." for note in c.notes)]),
        needed_samples=needed,
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an interval is held against: the threshold, the side where it must lie, and what was measured."""

    threshold: float
    good_side: Side
    beyond: bool = False
    value: float = 0.0
    interval: Interval = EVERYTHING

    def decided(self, interval: Interval) -> bool:
        return _status(interval.low, interval.high, self.threshold, self.good_side, beyond=self.beyond) != "open"


def _outlook(comparison: Comparison, asked: _Asked, of: Callable[[Projection], At]) -> tuple[int | None, str]:
    """Return the holdout size that would decide, and the end of the sentence that says so.

    of: which of the projected intervals it is.
    """
    if comparison.unit == SECONDS and (comparison.spread == 0 or math.isinf(comparison.spread)):
        return None, "; how times vary was not measured: Latency(one_at_a_time=True) times answers by themselves."
    c, distance = comparison, abs(asked.value - asked.threshold)
    whole = c.projection or _as_measured(c, asked.interval)
    samples = whole.one_seed or whole  # how the seeds differ does not change with samples
    suffice = c.seeds > 1 and asked.decided(of(samples)(samples.units))
    units: int | None = samples.units
    if not suffice:
        units = (
            units_that_decide(of(samples), asked.decided, asked.value, units=samples.units, most=samples.most)
            if distance
            else None
        )
    seeds = needed_seeds(distance, c.seed_spread, level=c.level) if c.seeds > 1 else None
    more_seeds = f"about {count(seeds, 'seed')}" if seeds is not None and seeds > c.seeds else ""
    if suffice or units is None:
        end = f"it would take {more_seeds}." if more_seeds else "no number of samples would decide at this result."
        return None, f"; {end}"
    needed = whole.samples_of(units)
    said = f"about {count(needed, 'holdout sample')}"
    said = said if c.groups is None else f"{said} in {count(units, 'group')}"
    both = f"{said} and {more_seeds}" if more_seeds else said
    return needed, f"; {both} would decide, if they show the same difference and spread."


def _as_measured(comparison: Comparison, interval: Interval) -> Projection:
    """Return the projection of a comparison whose scores are not at hand: its interval, to be scaled."""
    units = comparison.groups or comparison.samples
    return Projection(units, comparison.samples, lambda _: interval, lambda _: interval, most=units)


def _good_side(better: Direction) -> Side:
    return "above" if better == "higher" else "below"
