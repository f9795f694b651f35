"""What the simulations compare the harness's intervals with: Wald's, Tango's, and the power of McNemar's test."""

import math

import numpy as np

from harness.stats.intervals import Interval
from harness.stats.power import Sides


def wald_interval(lost: int, gained: int, samples: int, *, level: float = 0.95) -> Interval:
    """Return the large-sample interval of the paired difference; too narrow below 200 samples or 10 discordant."""
    difference = (gained - lost) / samples
    half = _z(level) * math.sqrt(lost + gained - (gained - lost) ** 2 / samples) / samples
    return Interval(difference - half, difference + half)


def tango_interval(lost: int, gained: int, samples: int, *, level: float = 0.95) -> Interval:
    """Return Tango's score interval of the paired difference: all differences that the score test accepts.

    Source: Tango, Statistics in Medicine 17 (1998).
    """
    z = _z(level)
    observed = (gained - lost) / samples

    def farthest_accepted(limit: float) -> float:
        accepted, rejected = observed, limit
        for _ in range(60):  # Halving: the statistic is infinite at the limits, where faster searches fail.
            middle = (accepted + rejected) / 2
            if abs(_tango_statistic(middle, lost, gained, samples)) <= z:
                accepted = middle
            else:
                rejected = middle
        return accepted

    return Interval(farthest_accepted(-1.0), farthest_accepted(1.0))


def mcnemar_power(lost: float, gained: float, samples: int, *, level: float = 0.95, sides: Sides = 2) -> float:
    """Return the probability that McNemar's exact test rejects, by an exact sum over the number of discordant pairs.

    lost, gained: the shares of samples, in [0, 1], that only the baseline and only the tuned system get right. With
    sides=1 only a rejection in favour of the tuned system counts, all of 1 - level being spent there.
    """
    from scipy.stats import binom

    discordant = np.arange(samples + 1)  # (samples + 1,)
    tail = (1 - level) / sides
    most = binom.ppf(tail, discordant, 0.5)
    critical = np.where(binom.cdf(most, discordant, 0.5) <= tail, most, most - 1)  # at most so many on one side
    share = gained / (lost + gained) if lost + gained > 0 else 0.5
    rejected = binom.sf(discordant - critical - 1, discordant, share)
    if sides == 2:
        rejected = rejected + binom.cdf(critical, discordant, share)
    # Where not even the most one-sided pairs reject, critical is -1 and neither tail holds anything.
    rejected = np.where(critical >= 0, rejected, 0.0)
    return float(binom.pmf(discordant, samples, lost + gained) @ rejected)


def _tango_statistic(delta: float, lost: int, gained: int, samples: int) -> float:
    """Return the score statistic at `delta`, with the variance of the restricted maximum likelihood estimate."""
    surplus = gained - lost - samples * delta
    a = 2 * samples
    b = (2 * samples - gained + lost) * delta - gained - lost
    c = -lost * delta * (1 - delta)
    rare = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)  # restricted share of `lost` pairs
    variance = samples * (2 * rare + delta * (1 - delta))
    if variance <= 0:
        return 0.0 if abs(surplus) < 1e-12 else math.copysign(math.inf, surplus)
    return surplus / math.sqrt(variance)


def _z(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))
