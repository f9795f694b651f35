"""BCa bootstrap of any statistic of weighted samples: clusters are drawn jointly, both systems by the same draws."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import Clusters, Interval, cluster_count
from harness.types.protocols import FloatArray

RESAMPLES = 10_000
_CELLS_AT_ONCE = 2_000_000  # 16 MB of weights: 10,000 resamples of 5,000 samples would take 400 MB.

Kinds = NDArray[np.int64]
# Weights of shape (resamples, n), how often each sample is drawn -> statistics of shape (resamples, k).
Statistic = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """One statistic on the samples as they are, its BCa interval, and the sd of its resamples (its standard error)."""

    value: float
    interval: Interval
    error: float


def bootstrap(
    statistic: Statistic,
    clusters: Clusters,
    *,
    seed: int,
    level: float = 0.95,
    kinds: Kinds | None = None,
) -> tuple[Bootstrapped, ...]:
    """Return the bias-corrected and accelerated interval of each of the k statistics.

    Args:
        clusters: Shape (n,), numbers 0 .. C-1; `np.arange(n)` draws samples one by one. A statistic that is the
            same on every resample has an interval of width 0, never NaN; one cluster alone says nothing: (-inf,
            inf).
        kinds: Shape (n,), numbers 0 .. K-1; samples of one kind are the same to the statistic, which then takes
            weights of shape (resamples, K). The draws are those without kinds.

    Raises:
        ValueError: If the statistic of any resample is not finite.

    Source: Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987).
    """
    each = np.arange(clusters.size) if kinds is None else kinds
    observed = statistic(np.bincount(each).astype(np.float64)[None, :])[0]  # (k,)
    replicates = np.concatenate([statistic(weights) for weights in _resampled(clusters, each, seed)])
    left_out = _left_out(statistic, clusters, each)  # (C, k)
    return _bootstrapped(observed, replicates, left_out, level, alone=cluster_count(clusters) < 2)


def bootstrap_mean(values: FloatArray, *, seed: int, resamples: int = RESAMPLES, level: float = 0.95) -> Bootstrapped:
    """Return `bootstrap` of the mean of `values`, shape (n,), drawn one by one: without weights, a third of the time.

    Raises:
        ValueError: If a value is not finite.
    """
    n, total = values.size, float(values.sum())
    means = np.concatenate([values[drawn].mean(axis=1) for drawn in _drawn(n, n, seed, resamples)])
    left_out = (total - values) / n  # divided by n, as weights of one less are; the interval is the same
    return _bootstrapped(np.array([total / n]), means[:, None], left_out[:, None], level, alone=n < 2)[0]


def by_kind(weights: FloatArray, kinds: Kinds) -> FloatArray:
    """Return how often each kind is drawn, shape (resamples, K), of weights of shape (resamples, n)."""
    order = np.argsort(kinds, kind="stable")
    starts = np.searchsorted(kinds[order], np.arange(int(kinds.max()) + 1))
    summed: FloatArray = np.add.reduceat(weights[:, order], starts, axis=1).astype(np.float64)
    return summed


def _bootstrapped(
    observed: FloatArray, replicates: FloatArray, left_out: FloatArray, level: float, *, alone: bool
) -> tuple[Bootstrapped, ...]:
    for values in (observed, replicates, left_out):
        if not np.isfinite(values).all():
            raise ValueError("the statistic of a resample is not finite")
    return tuple(
        Bootstrapped(
            float(value),
            Interval(-np.inf, np.inf) if alone else _bca(float(value), replicates[:, k], left_out[:, k], level),
            np.inf if alone else float(replicates[:, k].std(ddof=1)),
        )
        for k, value in enumerate(observed)
    )


def _drawn(count: int, samples: int, seed: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    """Yield which of `count` clusters are drawn, in blocks of shape (at most `rows`, count)."""
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS_AT_ONCE // samples)
    for start in range(0, resamples, rows):
        yield generator.integers(0, count, size=(min(rows, resamples - start), count))


def _resampled(clusters: Clusters, kinds: Kinds, seed: int) -> Iterator[FloatArray]:
    """Yield weights in blocks of shape (at most `rows`, K)."""
    count, width = cluster_count(clusters), int(kinds.max()) + 1
    singly = np.array_equal(clusters, np.arange(clusters.size))
    for drawn in _drawn(count, clusters.size, seed, RESAMPLES):
        block = len(drawn)
        if singly:  # A draw counts for its kind at once.
            places = kinds[drawn] + np.arange(block)[:, None] * width
            yield np.bincount(places.ravel(), minlength=block * width).reshape(block, width).astype(np.float64)
            continue
        places = drawn + np.arange(block)[:, None] * count
        counts = np.bincount(places.ravel(), minlength=block * count).reshape(block, count)
        yield by_kind(counts[:, clusters].astype(np.float64), kinds)


def _left_out(statistic: Statistic, clusters: Clusters, kinds: Kinds) -> FloatArray:
    """Return the statistics without each cluster, shape (C, k)."""
    sizes, count = np.bincount(kinds).astype(np.float64), cluster_count(clusters)
    if count < 2:  # Nothing would be left.
        return statistic(sizes[None, :])
    rows = max(1, _CELLS_AT_ONCE // clusters.size)
    if np.array_equal(clusters, np.arange(clusters.size)):  # Samples of one kind leave the same behind.
        starts = range(0, sizes.size, rows)
        blocks = (_without(sizes, np.arange(start, min(start + rows, sizes.size))) for start in starts)
        found: FloatArray = np.concatenate([statistic(weights) for weights in blocks])[kinds]
        return found
    clustered = (np.arange(start, min(start + rows, count)) for start in range(0, count, rows))
    return np.concatenate(
        [statistic(by_kind((clusters[None, :] != left[:, None]).astype(np.float64), kinds)) for left in clustered]
    )


def _without(sizes: FloatArray, left: NDArray[np.int64]) -> FloatArray:
    weights = np.tile(sizes, (len(left), 1))
    weights[np.arange(len(left)), left] -= 1
    return weights


def _bca(value: float, replicates: FloatArray, left_out: FloatArray, level: float) -> Interval:
    from scipy.special import ndtr, ndtri

    if np.ptp(replicates) == 0:
        return Interval(*sorted((value, float(replicates[0]))))
    # Equal but for rounding is equal: else the bias would hang on the order in which a mean was summed.
    slack = 1e-12 * max(abs(value), float(np.ptp(replicates)))
    lower, tied = replicates < value - slack, np.abs(replicates - value) <= slack
    below = (np.count_nonzero(lower) + 0.5 * np.count_nonzero(tied)) / replicates.size
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
