"""A comparison that may be looked at after every sample."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.compare import Comparison, SystemScores
from harness.protocols import FloatArray
from harness.stats.intervals import Clusters, Interval
from harness.stats.projection import COSTLY, Projection, projected
from harness.stats.sequences import asymptotic_p, asymptotic_sequence, betting_p, betting_sequence
from harness.stats.wording import FRACTION, sample_count
from harness.system_scores import group_codes


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

    comparison: of the same scores, for a fixed number of samples; its intervals, which count the seeds, are never
    undercut. baseline, tuned: in the order in which samples were drawn, clusters as a whole; a cluster is one step of
    the sequence, by the sum of its scores. Scores in [0, 1] need no approximation; others take the asymptotic sequence.
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
