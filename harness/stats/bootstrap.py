"""BCa bootstrap of any statistic of weighted samples: clusters are drawn jointly, both systems by the same draws."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.protocols import FloatArray
from harness.stats.intervals import Clusters, Interval, cluster_count

RESAMPLES = 10_000
_CELLS_AT_ONCE = 2_000_000  # 16 MB of weights: 10,000 resamples of 5,000 samples would take 400 MB.

# Weights of shape (resamples, n), how often each sample is drawn -> statistics of shape (resamples, k).
Statistic = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """One statistic on the samples as they are, its BCa interval, and the sd of its resamples (its standard error)."""

    value: float
    interval: Interval
    error: float


def bootstrap(
    statistic: Statistic, clusters: Clusters, *, seed: int, resamples: int = RESAMPLES, level: float = 0.95
) -> tuple[Bootstrapped, ...]:
    """Return the bias-corrected and accelerated interval of each of the k statistics.

    clusters: shape (n,), numbers 0 .. C-1; `np.arange(n)` draws samples one by one. A statistic that is the same on
    every resample has an interval of width 0, never NaN; one cluster alone says nothing: (-inf, inf).

    Raises ValueError if the statistic of any resample is not finite.
    Source: Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987).
    """
    observed = statistic(np.ones((1, clusters.size)))[0]  # (k,)
    replicates = np.concatenate([statistic(weights) for weights in _resampled(clusters, seed, resamples)])
    left_out = np.concatenate([statistic(weights) for weights in _leave_one_out(clusters)])  # (C, k)
    for values in (observed, replicates, left_out):
        if not np.isfinite(values).all():
            raise ValueError("the statistic of a resample is not finite")
    alone = cluster_count(clusters) < 2
    return tuple(
        Bootstrapped(
            float(value),
            Interval(-np.inf, np.inf) if alone else _bca(float(value), replicates[:, k], left_out[:, k], level),
            np.inf if alone else float(replicates[:, k].std(ddof=1)),
        )
        for k, value in enumerate(observed)
    )


def _resampled(clusters: Clusters, seed: int, resamples: int) -> Iterator[FloatArray]:
    """Yield weights in blocks of shape (at most `rows`, n)."""
    count = cluster_count(clusters)
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS_AT_ONCE // clusters.size)
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        drawn = generator.integers(0, count, size=(block, count)) + np.arange(block)[:, None] * count
        counts = np.bincount(drawn.ravel(), minlength=block * count).reshape(block, count)
        yield counts[:, clusters].astype(np.float64)


def _leave_one_out(clusters: Clusters) -> Iterator[FloatArray]:
    count = cluster_count(clusters)
    if count < 2:  # Nothing would be left.
        yield np.ones((1, clusters.size))
        return
    rows = max(1, _CELLS_AT_ONCE // clusters.size)
    for start in range(0, count, rows):
        left_out = np.arange(start, min(start + rows, count))
        yield (clusters[None, :] != left_out[:, None]).astype(np.float64)


def _bca(value: float, replicates: FloatArray, left_out: FloatArray, level: float) -> Interval:
    from scipy.special import ndtr, ndtri

    if np.ptp(replicates) == 0:
        return Interval(*sorted((value, float(replicates[0]))))
    below = (np.count_nonzero(replicates < value) + 0.5 * np.count_nonzero(replicates == value)) / replicates.size
    edge = 0.5 / replicates.size  # Keeps the bias finite where every resample lies on one side.
    bias = float(ndtri(min(max(below, edge), 1 - edge)))
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + float(ndtri(tail))
        stretch = 1 - _acceleration(left_out) * shifted
        # Beyond the pole the correction has no meaning; the end is then that of all resamples.
        share = float(ndtr(bias + shifted / stretch)) if stretch > 0 else float(shifted > 0)
        ends.append(float(np.quantile(replicates, share)))
    return Interval(ends[0], max(ends))


def _acceleration(left_out: FloatArray) -> float:
    deviations = left_out.mean() - left_out
    squares = float(deviations @ deviations)
    return float((deviations**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
