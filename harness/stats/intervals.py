"""Confidence intervals of a mean: of samples, of clusters of samples, of training seeds."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.types.protocols import FloatArray

Clusters = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends belong to it; an end may be infinite, never NaN."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"an interval needs low <= high, not [{self.low}, {self.high}]")

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def hull(self, other: "Interval") -> "Interval":
        """Return the smallest interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))

    def within(self, low: float, high: float) -> "Interval":
        """Return this interval cut to a range that the quantity cannot leave."""
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low))


EVERYTHING = Interval(-math.inf, math.inf)


def paired_interval(differences: FloatArray, *, level: float = 0.95) -> Interval:
    """Return the t interval of the mean of `differences`.

    Args:
        differences: Shape (n,), tuned minus baseline on the same sample, in score units. With n < 2 there is no
            spread and the interval is (-inf, inf).

    Raises:
        ValueError: If a difference is not finite.

    Source: Miller, Adding Error Bars to Evals (2024), section 4.
    """
    require_finite(differences)
    n = differences.size
    if n < 2:
        return EVERYTHING
    return t_interval(float(differences.mean()), standard_error(differences), n - 1, level)


def standard_error(values: FloatArray) -> float:
    """Return sd / sqrt(n) with n - 1 in the sd; infinite with n < 2."""
    n = values.size
    return float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf


def clustered_interval(differences: FloatArray, clusters: Clusters, *, level: float = 0.95) -> Interval:
    """Return the t interval of the mean where samples of one cluster move together.

    Args:
        clusters: Shape (n,), the cluster number of each sample, 0 .. C-1. With C < 2 the interval is (-inf, inf).
            With clusters of one size it is mean +- t_(C - 1) * sqrt(S * C / (C - 1)) / n, S the sum over clusters
            of the squared sum of deviations. With others that would be too narrow (one cluster of 100 beside eleven
            of 5: it holds the truth in 57 % to 87 %): the error is then the jackknife's, and the degrees of freedom
            are those of the effective number of clusters.

    Raises:
        ValueError: If a difference is not finite.

    Sources: MacKinnon, Nielsen, Webb, Journal of Applied Econometrics 38 (2023); Carter, Schnepel, Steigerwald, Review
    of Economics and Statistics 99 (2017).
    """
    require_finite(differences)
    if cluster_count(clusters) < 2:
        return EVERYTHING
    error = jackknife_error(differences, clusters)
    return t_interval(float(differences.mean()), error, clustered_freedom(clusters), level)


def jackknife_error(values: FloatArray, clusters: Clusters) -> float:
    """Return the standard error of the mean from the means without each cluster; infinite with C < 2."""
    count, n = cluster_count(clusters), values.size
    if count < 2:
        return math.inf
    sums, sizes = np.bincount(clusters, weights=values, minlength=count), np.bincount(clusters, minlength=count)
    left = (sums.sum() - sums) / (n - sizes)  # (C,)
    return math.sqrt(float(((left - values.mean()) ** 2).sum()) * (count - 1) / count)


def clustered_freedom(clusters: Clusters) -> float:
    """Return the degrees of freedom, C - 1 with C the effective number of clusters: n^2 over the sum of squared sizes.

    Never below 0.5, where one cluster holds nearly all samples and a t interval says next to nothing.
    """
    sizes = np.bincount(clusters).astype(np.float64)
    return max(0.5, float(sizes.sum() ** 2 / (sizes @ sizes)) - 1)


def unit_means(values: FloatArray, clusters: Clusters | None) -> FloatArray:
    """Return the mean of each cluster, shape (C,); the values themselves if there are none."""
    if clusters is None:
        return values
    means: FloatArray = np.bincount(clusters, weights=values) / np.bincount(clusters)
    return means


def cluster_count(clusters: Clusters) -> int:
    return int(clusters.max()) + 1 if clusters.size else 0


def seed_interval(tuned: FloatArray, baseline: FloatArray | None = None, *, level: float = 0.95) -> Interval:
    """Return the interval of the mean over training seeds, or of its difference from the baseline's.

    Args:
        tuned, baseline: Shape (seeds,), the mean score of each seed. One baseline seed, or None, has no variance of
            its own; more are taken as independent of the tuned seeds (Welch's degrees of freedom, which are S - 1
            for a single baseline seed). With one tuned and one baseline seed nothing is known: (-inf, inf).
    """
    difference, error, freedom = _seed_error(tuned, np.zeros(1) if baseline is None else baseline)
    return t_interval(difference, error, freedom, level) if freedom else EVERYTHING


def seed_p(tuned: FloatArray, baseline: FloatArray) -> float:
    """Return the two-sided p-value of "retraining would give no difference"; 1 if no system has two seeds.

    Args:
        tuned, baseline: As in `seed_interval`, which excludes 0 exactly where this is below 1 - level. Seeds that
            do not differ at all give 0: all the doubt is then between samples.
    """
    from scipy.special import stdtr

    difference, error, freedom = _seed_error(tuned, baseline)
    if not freedom:
        return 1.0
    return 2 * float(stdtr(freedom, -abs(difference) / error)) if error else float(difference == 0)


def require_finite(values: FloatArray) -> None:
    """Raise ValueError naming the first value that is not finite."""
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"value {bad[0]} of {values.size} is {values[bad[0]]}; only finite numbers have an interval")


def _seed_error(tuned: FloatArray, baseline: FloatArray) -> tuple[float, float, float]:
    """Return the difference of the means, its standard error, and the degrees of freedom (0: nothing is known)."""
    difference = float(tuned.mean() - baseline.mean())
    parts = [(float(seeds.var(ddof=1)) / seeds.size, seeds.size - 1) for seeds in (tuned, baseline) if seeds.size > 1]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return difference, 0.0, float(sum(freedom for _, freedom in parts))
    return difference, math.sqrt(variance), variance**2 / sum(part**2 / freedom for part, freedom in parts)


def t_interval(mean: float, error: float, freedom: float, level: float) -> Interval:
    """Return mean plus and minus the t quantile times the standard error, with `freedom` > 0 degrees of freedom."""
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    return Interval(mean - half, mean + half)


def z_interval(mean: float, error: float, level: float) -> Interval:
    """Return mean plus and minus the normal quantile times the standard error."""
    from scipy.special import ndtri

    half = float(ndtri(0.5 + level / 2)) * error
    return Interval(mean - half, mean + half)
