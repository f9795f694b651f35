"""A comparison that may be looked at after every sample.

A holdout that was evaluated in random order and left when the evidence decided.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.estimate import Estimate
from harness.errors import Incomparable
from harness.stats.compare import Comparison, SystemScores, group_codes
from harness.stats.intervals import Clusters, Interval
from harness.stats.projection import COSTLY, Projection, projected
from harness.stats.sequences import asymptotic_p, asymptotic_sequence, betting_p, betting_sequence
from harness.stats.wording import FRACTION, change, confidence, count, rounded, sample_count
from harness.types.protocols import FloatArray


@dataclass(frozen=True, slots=True)
class Horizon:
    """The most there may be: samples, the units that come one by one (clusters or samples), and the largest of them."""

    samples: int
    units: int
    largest: int

    def projected(self, units: int) -> "Horizon":
        """Return the horizon of a holdout with so many units like these."""
        return replace(self, samples=round(units * self.samples / self.units), units=units)


def horizon_of(clusters: Sequence[str | None]) -> Horizon:
    """Return the horizon of a holdout whose samples lie in these clusters, None for one that stands alone."""
    sizes = Counter(name for name in clusters if name is not None)
    return Horizon(len(clusters), len(sizes) + clusters.count(None), max(sizes.values(), default=1))


def always_valid(
    comparison: Comparison, *, baseline: SystemScores, tuned: SystemScores, horizon: Horizon
) -> Comparison:
    """Return the comparison with intervals that hold however often they are looked at.

    Args:
        comparison: Of the same scores, for a fixed number of samples; its intervals, which count the seeds, are
            never undercut.
        baseline, tuned: In the order in which samples were drawn, clusters as a whole; a cluster is one step of the
            sequence, by the sum of its scores. Scores in [0, 1] need no approximation; others take the asymptotic
            sequence.
    """
    bounded = comparison.unit == FRACTION and all(
        bool(((side.scores >= 0) & (side.scores <= 1)).all()) for side in (baseline, tuned)
    )
    before, after = (_Stream(side.scores.mean(axis=0), group_codes(tuned), horizon) for side in (baseline, tuned))
    change = _Stream(after.values - before.values, after.clusters, horizon)
    level = comparison.level
    difference = change.interval(-1.0 if bounded else None, level)
    own_before, own_after = (side.interval(0.0 if bounded else None, level) for side in (before, after))
    shown = difference.hull(Interval(comparison.low, comparison.high))
    shown_before = own_before.hull(Interval(comparison.baseline_low, comparison.baseline_high))
    shown_after = own_after.hull(Interval(comparison.tuned_low, comparison.tuned_high))
    kind = "betting" if bounded else "asymptotic"
    return replace(
        comparison,
        low=shown.low,
        high=shown.high,
        baseline_low=shown_before.low,
        baseline_high=shown_before.high,
        tuned_low=shown_after.low,
        tuned_high=shown_after.high,
        p_value=max(comparison.p_value, change.p_value(bounded, level)),
        always_valid=True,
        method=f"always-valid {kind} confidence sequence, {_counted(comparison)}",
        projection=_projection(comparison.projection, change, after, bounded, level),
    )


@dataclass(frozen=True, eq=False)
class _Stream:
    """Values in order of arrival, shape (n,), with the cluster of each."""

    values: FloatArray
    clusters: Clusters | None
    horizon: Horizon

    @property
    def steps(self) -> FloatArray:
        """Sums of clusters over the mean size, shape (units,): their mean over the horizon is that of the values."""
        if self.clusters is None:
            return self.values
        sums: FloatArray = np.bincount(self.clusters, weights=self.values) * self.horizon.units / self.horizon.samples
        return sums

    @property
    def most(self) -> float:
        """The largest step of values up to 1."""
        return self.horizon.largest * self.horizon.units / self.horizon.samples

    def interval(self, low: float | None, level: float) -> Interval:
        """Return the interval at the end; low: the least value where all lie between it and 1."""
        steps, planned = self.steps, self.horizon.units
        if low is None:
            return asymptotic_sequence(steps, planned=planned, level=level).at(steps.size)
        bounds = {"low": low * self.most, "high": self.most}
        return betting_sequence(steps, **bounds, planned=planned, level=level).at(steps.size)

    def p_value(self, bounded: bool, level: float) -> float:
        steps, planned = self.steps, self.horizon.units
        if bounded:
            return float(betting_p(steps, low=-self.most, high=self.most, planned=planned, level=level)[-1])
        spread = float(steps.std(ddof=1)) if steps.size > 1 else 0.0
        return asymptotic_p(float(steps.mean()), spread, steps.size, planned=planned, level=level)

    def at(self, units: int) -> "_Stream":
        places, clusters = projected(self.values, self.clusters, units)
        return _Stream(self.values[places], clusters, self.horizon.projected(units))


def _projection(
    plain: Projection | None, change: _Stream, own: _Stream, bounded: bool, level: float
) -> Projection | None:
    """Return what the sequences would be at the end of a larger holdout."""
    if plain is None:
        return None
    return replace(
        plain,
        difference=lambda units: (
            change.at(units).interval(-1.0 if bounded else None, level).hull(plain.difference(units))
        ),
        own=lambda units: own.at(units).interval(0.0 if bounded else None, level).hull(plain.own(units)),
        most=COSTLY,
        one_seed=_projection(plain.one_seed, change, own, bounded, level),
    )


def _counted(comparison: Comparison) -> str:
    said = sample_count(comparison.samples, comparison.groups)
    return said if comparison.groups is not None else f"{said} samples"


_MOST_PEEKS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """The confidence sequence after `samples` samples: it holds at every look at once."""

    samples: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedEarly:
    """Where a sequential evaluation ended.

    Args:
        samples: Evaluated.
        of: The whole holdout.
        difference: At the end, with the always-valid interval.
        saved: The share of the holdout that was not needed.
        decided: The sequence left the threshold (score units) on one side; else every sample was evaluated.
        peeks: At most 60 points of the sequence, for drawing.
    """

    metric: str
    unit: str
    level: float
    samples: int
    of: int
    saved: float
    decided: bool
    threshold: float
    difference: Estimate
    method: str
    peeks: tuple[Peek, ...]
    sentence: str


def stopped_early(looked: Sequence[Comparison], *, threshold: float, of: int) -> StoppedEarly:
    """Return where the evaluation ended, from the looks in their order; the last one is the end.

    Args:
        threshold: Of the difference, in score units; the evaluation may stop once the interval lies on one side of
            it.
        of: Samples of the whole holdout.

    Raises:
        Incomparable: Without a look.
    """
    if not looked:
        raise Incomparable("nothing was looked at, so nothing can have stopped; evaluate one sample")
    last = looked[-1]
    metric, unit, level = last.metric, last.unit, last.level
    decided = not last.low <= threshold <= last.high
    difference = Estimate(last.difference, last.low, last.high)
    side = change(threshold, unit=unit)
    shown = f"{metric} {difference.as_difference(unit)}, an interval at {confidence(level)} that holds at every look"
    seen = f"{last.samples:,} of {count(of, 'holdout sample')} in random order"
    if decided:
        way = "above" if last.low > threshold else "below"
        spared = f"{rounded(1 - last.samples / of, unit='%')} of the holdout was not needed"
        sentence = f"After {seen} the difference was {way} {side}: {shown}. {spared}."
    else:
        sentence = f"{seen} were evaluated without leaving {side} on one side: {shown}."
    return StoppedEarly(
        metric=metric,
        unit=unit,
        level=level,
        samples=last.samples,
        of=of,
        saved=1 - last.samples / of,
        decided=decided,
        threshold=threshold,
        difference=difference,
        method=last.method,
        peeks=_thinned([Peek(samples=c.samples, difference=c.difference, low=c.low, high=c.high) for c in looked]),
        sentence=sentence,
    )


def _thinned(peeks: Sequence[Peek]) -> tuple[Peek, ...]:
    if len(peeks) <= _MOST_PEEKS:
        return tuple(peeks)
    places = {round(step * (len(peeks) - 1) / (_MOST_PEEKS - 1)) for step in range(_MOST_PEEKS)}
    return tuple(peeks[place] for place in sorted(places))
