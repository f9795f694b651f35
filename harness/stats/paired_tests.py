"""Right-or-wrong scores: McNemar's test, and intervals that hold for few samples and rare failures.

Two systems answer the same n samples. `lost` counts the pairs that only the baseline got right, `gained` those
that only the tuned system got right; the rest are ties.

Sign-flip test: without a difference, each sample's (or cluster's) difference is as likely negative as positive.

Needs no normal distribution, so it decides where clusters are few. Exact up to 16 units; beyond that drawn at
random, each draw beside its mirror image, with p = (1 + hits) / (1 + draws) that can never be 0.

Tests of a mean of paired differences: is it 0, and is it above minus a margin?
"""

import math
from collections.abc import Iterator

import numpy as np

from harness.stats.intervals import (
    EVERYTHING,
    Clusters,
    Interval,
    cluster_count,
    clustered_freedom,
    jackknife_error,
    require_finite,
    standard_error,
)
from harness.types.protocols import FloatArray


def mcnemar_p(lost: int, gained: int) -> float:
    """Return the two-sided p-value of McNemar's exact test of "both systems are right equally often".

    It is 1 if no pair is discordant.
    Source: Fagerland, Lydersen, Laake, BMC Medical Research Methodology 13:91 (2013).
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(lost, gained), lost + gained, 0.5)))


def wilson_interval(mean: float, samples: int, *, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion; never of width 0, also for no failure at all.

    Args:
        mean: The share that is right, in [0, 1]; need not be a whole count, so that a mean over seeds fits. Source:
            Wilson, JASA 22 (1927); Bowyer et al., arXiv 2503.01747, on why not the normal interval.
    """
    z2 = _z(level) ** 2
    centre = (mean + z2 / (2 * samples)) / (1 + z2 / samples)
    half = math.sqrt(z2 * (mean * (1 - mean) / samples + z2 / (4 * samples**2))) / (1 + z2 / samples)
    # At 0 and 1 the ends are exact; floating point leaves them 1e-17 away.
    return Interval(0.0 if mean == 0 else max(0.0, centre - half), 1.0 if mean == 1 else min(1.0, centre + half))


def clopper_pearson_interval(right: int, samples: int, *, level: float = 0.95) -> Interval:
    """Return the exact interval of a share: it covers at least `level` whatever the share is, and is wide for that.

    Source: Clopper and Pearson, Biometrika 26 (1934).
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(right, samples - right + 1, tail)) if right else 0.0
    high = float(betaincinv(right + 1, samples - right, 1 - tail)) if right < samples else 1.0
    return Interval(low, high)


def most_failures(failures: int, samples: int, *, level: float = 0.95) -> float:
    """Return the one-sided upper bound of a failure rate: what it may still be where so few were seen.

    With no failure it is 1 - (1 - level)^(1 / samples), near the rule of three 3 / samples.
    """
    from scipy.special import betaincinv

    return float(betaincinv(failures + 1, samples - failures, level)) if failures < samples else 1.0


def bonett_price_interval(differences: FloatArray, *, level: float = 0.95) -> Interval:
    """Return the Wald interval after one pair is added to each discordant cell.

    Args:
        differences: Shape (n,), in [-1, 1]. For scores of 0 and 1 this is Bonett and Price's interval; written as
            two more samples with differences +1 and -1 it also takes means over seeds. Never of width 0. Source:
            Bonett and Price, Journal of Educational and Behavioral Statistics 37 (2012).
    """
    padded = np.append(differences, (1.0, -1.0))
    half = _z(level) * float(padded.std()) / math.sqrt(padded.size)
    centre = float(padded.mean())
    return Interval(centre - half, centre + half).within(-1.0, 1.0)


def conditional_interval(lost: int, gained: int, samples: int, *, level: float = 0.95) -> Interval:
    """Return the exact interval of the paired difference given the number of discordant pairs.

    Clopper and Pearson's interval of the share gained among the discordant pairs, times their share of all
    samples. It excludes 0 exactly where the exact McNemar p is at most 1 - level.
    """
    discordant = lost + gained
    if discordant == 0:
        return Interval(0.0, 0.0)
    share, scale = clopper_pearson_interval(gained, discordant, level=level), discordant / samples
    return Interval((2 * share.low - 1) * scale, (2 * share.high - 1) * scale)


def _z(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


EXACT_UNITS = 16
DRAWS = 10_000
_CELLS_AT_ONCE = 2_000_000


def sign_flip_p(differences: FloatArray, clusters: Clusters | None = None, *, seed: int = 0) -> float:
    """Return the two-sided p-value of "the mean difference is 0"; clusters flip as a whole.

    Args:
        differences: Shape (n,).
        clusters: Shape (n,), numbers 0 .. C-1; None flips each sample by itself.

    Raises:
        ValueError: If a difference is not finite.
    """
    sums, _ = _units(differences, clusters)
    total = abs(float(sums.sum()))
    if total == 0:
        return 1.0
    tolerance = 1e-12 * float(np.abs(sums).sum())
    hits, flips = 0, 0
    for flipped in _flips(sums.size, seed):  # (draws, C)
        hits += int((np.abs(sums.sum() - 2 * (flipped @ sums)) >= total - tolerance).sum())
        flips += len(flipped)
    return hits / flips if sums.size <= EXACT_UNITS else (1 + hits) / (1 + flips)


def sign_flip_interval(
    differences: FloatArray, clusters: Clusters | None = None, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return all mean differences that the sign-flip test accepts at 1 - level.

    The ends are quantiles of the means of random subsets of the units, so they are infinite where even the most
    one-sided data could not reject: below 6 units at 95 %.

    Raises:
        ValueError: If a difference is not finite.

    Source: Hartigan, Using Subsample Values as Typical Values, JASA 64 (1969).
    """
    sums, sizes = _units(differences, clusters)
    exact = sums.size <= EXACT_UNITS
    means = np.concatenate([_subset_means(flipped, sums, sizes) for flipped in _flips(sums.size, seed)])
    # A value is accepted while (2 * subsets beyond it + certain) / flips > 1 - level. The empty subset is certain:
    # in the exact list it counts at both ends.
    certain, flips = (2, len(means)) if exact else (1, len(means) + 1)
    inner = np.sort(means[np.isfinite(means)])
    rank = math.floor(((1 - level) * flips - certain) / 2) + 1
    if rank <= 0 or rank > len(inner):
        return EVERYTHING
    return Interval(float(inner[rank - 1]), float(inner[-rank]))


def fewest_flips(level: float) -> int:
    """Return how many units it takes to reject at all: five cannot at 95 %, where 2 / 2^5 = 0.0625."""
    return math.ceil(math.log2(2 / (1 - level)))


def _units(differences: FloatArray, clusters: Clusters | None) -> tuple[FloatArray, FloatArray]:
    """Return sum of differences and number of samples of each unit, both of shape (C,)."""
    require_finite(differences)
    if clusters is None:
        return differences.astype(np.float64), np.ones(differences.size)
    count = cluster_count(clusters)
    sums = np.bincount(clusters, weights=differences, minlength=count).astype(np.float64)
    return sums, np.bincount(clusters, minlength=count).astype(np.float64)


def _subset_means(flipped: FloatArray, sums: FloatArray, sizes: FloatArray) -> FloatArray:
    """Return the mean difference of each drawn subset, shape (draws,); NaN for the empty one."""
    counts = flipped @ sizes
    means: FloatArray = np.divide(flipped @ sums, counts, out=np.full(len(flipped), np.nan), where=counts > 0)
    return means


def _flips(units: int, seed: int) -> Iterator[FloatArray]:
    """Yield which units flip, in blocks of shape (draws, units) with 1.0 for a flip."""
    if units <= EXACT_UNITS:
        yield ((np.arange(2**units)[:, None] >> np.arange(units)) & 1).astype(np.float64)
        return
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS_AT_ONCE // units)
    for start in range(0, DRAWS // 2, rows):
        block = generator.random((min(rows, DRAWS // 2 - start), units)) < 0.5
        yield block.astype(np.float64)
        yield (~block).astype(np.float64)


def paired_p(differences: FloatArray, clusters: Clusters | None = None) -> float:
    """Return the two-sided p-value of "the mean difference is 0" by a t test, clustered where clusters are given.

    Without any spread there is no t: identical systems give 1, and a constant difference that of the sign test, since
    p = 0 from five equal wins would be a false certainty.

    Raises:
        ValueError: If a difference is not finite.
    """
    from scipy.special import stdtr

    require_finite(differences)
    units = differences.size if clusters is None else cluster_count(clusters)
    if units < 2:
        return 1.0
    error = standard_error(differences) if clusters is None else jackknife_error(differences, clusters)
    mean = float(differences.mean())
    if error <= 1e-12 * abs(mean):
        return 1.0 if mean == 0 else min(1.0, 2 * 0.5**units)
    # stdtr of the negative keeps small tails that 1 - cdf would round to 0.
    freedom = units - 1 if clusters is None else clustered_freedom(clusters)
    return 2 * float(stdtr(freedom, -abs(mean) / error))
