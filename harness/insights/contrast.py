"""A weighted sum of several systems' scores on the same samples, such as an interaction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.compare import SystemScores, compare, statistic_of
from harness.errors import Incomparable
from harness.insights.estimate import Estimate
from harness.insights.resampling import clusters_of
from harness.protocols import CorpusMetric, Direction, FloatArray, Named
from harness.stats.bootstrap import bootstrap
from harness.stats.wording import FRACTION

Weighted = Sequence[tuple[float, SystemScores]]


@dataclass(frozen=True)
class _Contrast:
    name: str
    better: Direction
    unit: str


def contrast(metric: Named, parts: Weighted, *, split: str, unit: str, level: float) -> Estimate:
    """Return the sum of weight times score, paired by sample; for a metric of the whole set, by resample.

    parts: a weight and a system each; the systems share their samples. Where all have the same seeds they are summed
    seed by seed, else each is its mean. unit: of the metric, as in HasUnit.

    Raises Incomparable where the systems were scored on different samples.
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

    result = bootstrap(statistic, clusters_of(parts[0][1]), seed=0, level=level)[0]
    return Estimate(result.value, result.interval.low, result.interval.high)
