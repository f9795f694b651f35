"""A number with its interval, as every insight holds it.

Systems scored again on the same resamples of the samples they share.

A weighted sum of several systems' scores on the same samples, such as an interaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import Incomparable
from harness.stats.bootstrap import bootstrap
from harness.stats.compare import SystemScores, compare, statistic_of
from harness.stats.wording import FRACTION, difference_text, mean_text
from harness.types.protocols import CorpusMetric, Direction, FloatArray, Named


@dataclass(frozen=True, slots=True)
class Estimate:
    """low and high bound `value` at the confidence level that the insight names; an end may be infinite, never NaN."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def as_mean(self, unit: str) -> str:
        """Return "83.4 % [81.2, 85.5]"."""
        return mean_text(self.value, self.low, self.high, unit=unit)

    def as_difference(self, unit: str) -> str:
        """Return "+0.8 pts [-1.1, +2.6]"."""
        return difference_text(self.value, self.low, self.high, unit=unit)


def percentile_estimate(value: float, replicates: FloatArray, level: float) -> Estimate:
    """Return `value` with the percentile interval of its resamples, which may hold infinite ones.

    The interval is widened to hold the value where few resamples lie beyond it.
    """
    low, high = np.quantile(replicates, ((1 - level) / 2, (1 + level) / 2), method="inverted_cdf")
    return Estimate(value, min(float(low), value), max(float(high), value))


_CELLS_AT_ONCE = 2_000_000  # 16 MB of weights


@dataclass(frozen=True)
class Resampled:
    """observed: shape (systems,), each one's score on the samples as they are. replicates: shape (B, systems)."""

    observed: FloatArray
    replicates: FloatArray


def resampled(
    metric: Named, systems: Sequence[SystemScores], *, resamples: int, seed: int, tuned: int = 0
) -> Resampled:
    """Score every system on the same draws of samples, clusters as a whole, and on draws of its own training seeds.

    A system's score is its mean over seeds, or the mean of the metric of the whole set. The systems must share
    their samples. Seeds are drawn apart for each system, since each was trained apart; few of them vary too little,
    by (seeds - 1) / seeds, which is put back. Of the first `tuned` systems, trainings of one recipe, one that was
    trained once varies as a single training of the others does.
    """
    generator = np.random.default_rng(seed)
    codes = sample_clusters(systems[0])
    n, clusters = codes.size, int(codes.max()) + 1
    once = np.ones((1, n))
    by_seed = [_by_seed(metric, system, once)[:, 0] for system in systems]
    blocks = []
    rows = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, resamples, rows):
        drawn = generator.multinomial(clusters, np.full(clusters, 1 / clusters), min(rows, resamples - start))
        weights = drawn[:, codes].astype(np.float64)  # (rows, n)
        blocks.append(np.stack([_by_seed(metric, system, weights).mean(axis=0) for system in systems], axis=1))
    moves = np.concatenate([by_seed[0][:0], *(_seed_moves(means) for means in by_seed[:tuned])])  # of one training
    shifts = [_seed_shift(means, resamples, generator) for means in by_seed]
    for place in range(tuned):
        if by_seed[place].size == 1 and moves.size:
            shifts[place] = generator.choice(moves, resamples)
    return Resampled(np.array([means.mean() for means in by_seed]), np.concatenate(blocks) + np.stack(shifts, axis=1))


def _by_seed(metric: Named, system: SystemScores, weights: FloatArray) -> FloatArray:
    """Return the score of each seed on each weighted set, shape (seeds, B)."""
    if isinstance(metric, CorpusMetric):
        return np.stack([statistic_of(metric)(row, weights) for row in system.details])
    means: FloatArray = (weights @ system.scores.T / weights.sum(axis=1, keepdims=True)).T
    return means


def _seed_shift(means: FloatArray, resamples: int, generator: np.random.Generator) -> FloatArray:
    if means.size < 2:
        return np.zeros(resamples)
    shift: FloatArray = _seed_moves(means)[generator.integers(0, means.size, (resamples, means.size))].mean(axis=1)
    return shift


def _seed_moves(means: FloatArray) -> FloatArray:
    """Return by how much each training is off the mean, as widely as so few tell of all; none for a single one."""
    moves: FloatArray = means[:0] if means.size < 2 else np.sqrt(means.size / (means.size - 1)) * (means - means.mean())
    return moves


def sample_clusters(system: SystemScores) -> NDArray[np.int64]:
    """Return the cluster number of each sample; a sample without a group is its own."""
    groups = system.clusters or (None,) * len(system.sample_ids)
    numbers: dict[object, int] = {}
    keys = [(place,) if group is None else group for place, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


Weighted = Sequence[tuple[float, SystemScores]]


@dataclass(frozen=True)
class _Contrast:
    name: str
    better: Direction
    unit: str


def contrast(metric: Named, parts: Weighted, *, split: str, unit: str, level: float) -> Estimate:
    """Return the sum of weight times score, paired by sample; for a metric of the whole set, by resample.

    Args:
        parts: A weight and a system each; the systems share their samples. Where all have the same seeds they are
            summed seed by seed, else each is its mean.
        unit: Of the metric, as in HasUnit.

    Raises:
        Incomparable: If the systems were scored on different samples.
    """
    ids = parts[0][1].sample_ids
    for _, system in parts:
        if system.sample_ids != ids:
            raise Incomparable(
                f"{metric.name}: {parts[0][1].system} and {system.system} were scored on different samples; "
                "score all of them on the whole split, in its order"
            )
    if isinstance(metric, CorpusMetric):
        return _of_sets(metric, parts, level)
    alike = len({len(system.scores) for _, system in parts}) == 1
    summed = sum(weight * (system.scores if alike else system.scores.mean(axis=0)) for weight, system in parts)
    first = parts[0][1]
    sides = [
        SystemScores(first.system, ids, np.atleast_2d(values), clusters=first.clusters)
        for values in (summed, np.zeros(len(ids)))
    ]
    named = _Contrast(metric.name, metric.better, unit if unit == FRACTION else "")
    found = compare(named, split=split, baseline=sides[1], tuned=sides[0], level=level)
    return Estimate(found.difference, found.low, found.high)


def _of_sets(metric: CorpusMetric, parts: Weighted, level: float) -> Estimate:
    def statistic(weights: FloatArray) -> FloatArray:
        found = [
            weight * np.mean([statistic_of(metric)(row, weights) for row in system.details], axis=0)
            for weight, system in parts
        ]
        total: FloatArray = np.sum(found, axis=0)[:, None]
        return total

    result = bootstrap(statistic, sample_clusters(parts[0][1]), seed=0, level=level)[0]
    return Estimate(result.value, result.interval.low, result.interval.high)
