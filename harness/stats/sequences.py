"""Evidence that may be looked at after every sample: intervals that all hold at once, whenever one stops.

An interval for a fixed n, looked at again and again, excludes the truth sooner or later. The samples must come in an
order that was shuffled once and knows nothing of the answers.
"""

import math
from dataclasses import dataclass

import numpy as np

from harness.stats.intervals import Interval, require_finite
from harness.types.protocols import FloatArray

GRID = 1_000  # Means that are tried on either side: a difference in [-1, 1] is bounded to 0.002 at worst.
_LARGEST_BET = 0.5  # Of what would be lost at the far end; more ruins on one surprise.
_FEWEST_SAMPLES = 30  # For the normal approximation: two equal values would give a width of 0.
_CELLS_AT_ONCE = 2_000_000


@dataclass(frozen=True, eq=False)
class ConfidenceSequence:
    """low, high: shape (n,), the bounds after each sample. With the stated confidence all n intervals hold at once."""

    low: FloatArray
    high: FloatArray

    def at(self, samples: int) -> Interval:
        """Return the interval after so many samples, from 1."""
        low, high = float(self.low[samples - 1]), float(self.high[samples - 1])
        # The bounds cross with the probability of the error alone; a point between them is then all there is to say.
        return Interval(low, high) if low <= high else Interval((low + high) / 2, (low + high) / 2)


def betting_sequence(
    values: FloatArray, *, low: float = -1.0, high: float = 1.0, planned: int | None = None, level: float = 0.95
) -> ConfidenceSequence:
    """Return a confidence sequence of the mean of bounded values that holds at every n: no normal approximation.

    A mean is excluded once a gambler who bets against it, knowing only the samples before, has multiplied the stake
    by 2 / alpha. Bounds are running, so that they never widen, and rounded outwards to the grid of tried means.

    Args:
        values: Shape (n,), in order of arrival, within [low, high]: differences of scores in [0, 1] lie in [-1, 1].
        planned: How many samples there may be at most; bets are then sized for the end, where the interval is
            tightest.

    Raises:
        ValueError: For a value that is not finite or out of range.

    Source: Waudby-Smith and Ramdas, Estimating Means of Bounded Random Variables by Betting, JRSS B 86 (2024).
    """
    scaled = _scaled(values, low, high)
    bets = _bets(scaled, planned, level)
    width = high - low
    return ConfidenceSequence(low + width * _lower(scaled, bets, level), high - width * _lower(1 - scaled, bets, level))


def betting_p(
    values: FloatArray, *, low: float = -1.0, high: float = 1.0, planned: int | None = None, level: float = 0.95
) -> FloatArray:
    """Return the always-valid two-sided p-value of "the mean is 0" after each sample, shape (n,); never rising.

    Args:
        level: What the bets are sized for, as in `betting_sequence`; the p-value holds at any.

    Raises:
        ValueError: For a value that is not finite or out of range.
    """
    scaled, centre = _scaled(values, low, high), np.array([-low / (high - low)])
    bets = _bets(scaled, planned, level)
    above = _log_wealth(scaled, centre, bets)[:, 0]
    below = _log_wealth(1 - scaled, 1 - centre, bets)[:, 0]
    wealth = np.maximum.accumulate(np.maximum(above, below))
    p_values: FloatArray = np.minimum(1.0, 2 * np.exp(-np.maximum(wealth, 0.0)))
    return p_values


def asymptotic_sequence(values: FloatArray, *, planned: int, level: float = 0.95) -> ConfidenceSequence:
    """Return a confidence sequence for values without bounds, such as seconds; it holds once n is large.

    Args:
        planned: The n at which it is to be tightest. Before 30 samples, or without any spread, it says nothing.

    Raises:
        ValueError: If a value is not finite.

    Source: Waudby-Smith and others, Time-Uniform Central Limit Theory, Annals of Statistics 52 (2024).
    """
    require_finite(values)
    n = np.arange(1, values.size + 1)
    means = np.cumsum(values) / n
    squares = np.cumsum((values - values.mean()) ** 2) - n * (means - values.mean()) ** 2
    spreads = np.sqrt(np.maximum(squares, 0.0) / np.maximum(n - 1, 1))
    unit = np.array([asymptotic_half_width(1.0, int(k), planned=planned, level=level) for k in n])
    half = np.where((n < _FEWEST_SAMPLES) | (spreads == 0), np.inf, unit * spreads)
    return ConfidenceSequence(means - half, means + half)


def asymptotic_half_width(spread: float, samples: int, *, planned: int, level: float = 0.95) -> float:
    """Return half the width after `samples` of standard deviation `spread`; at `planned` 1.55 times a fixed n's."""
    root = math.sqrt(samples * mixing_rate(planned, level) ** 2 + 1)
    bound = math.sqrt(2 * math.log(root / (1 - level))) * root / (samples * mixing_rate(planned, level))
    return spread * bound


def asymptotic_p(mean: float, spread: float, samples: int, *, planned: int, level: float = 0.95) -> float:
    """Return the p-value of "the mean is 0" that is below 1 - level where `asymptotic_half_width` excludes 0."""
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    mixing = (mixing_rate(planned, level) * spread) ** 2
    return math.exp(-max(0.0, log_mixture_ratio(mean, samples=samples, variance=spread**2, mixing=mixing)))


def mixing_rate(planned: int, level: float = 0.95) -> float:
    """Return rho, which makes the asymptotic sequence tightest at `planned` samples."""
    log = -2 * math.log(1 - level)
    return math.sqrt((log + math.log(log + 1)) / planned)


def log_mixture_ratio(mean: float, *, samples: int, variance: float, mixing: float, null: float = 0.0) -> float:
    """Return the log likelihood ratio of the mixture SPRT of "the mean is `null`"; always-valid p = min(1, exp(-it)).

    Args:
        variance: Of one sample, known beforehand: estimated on the fly the error is only about right.
        mixing: Variance of the normal distribution of means that are held against the null. Source: Johari,
            Pekelis, Walsh, Always Valid Inference, Operations Research 70 (2022).
    """
    total = variance + samples * mixing
    return 0.5 * math.log(variance / total) + samples**2 * mixing * (mean - null) ** 2 / (2 * variance * total)


def _scaled(values: FloatArray, low: float, high: float) -> FloatArray:
    """Return the values on [0, 1]."""
    require_finite(values)
    outside = np.flatnonzero((values < low) | (values > high))
    if outside.size:
        raise ValueError(f"value {outside[0]} of {values.size} is {values[outside[0]]}, outside [{low}, {high}]")
    scaled: FloatArray = (values - low) / (high - low)
    return scaled


def _bets(scaled: FloatArray, planned: int | None, level: float) -> FloatArray:
    """Return the size of each bet, shape (n,), from the variance of the samples before it."""
    n = np.arange(1, scaled.size + 1)
    means = (0.5 + np.cumsum(scaled)) / (n + 1)
    variances = (0.25 + np.cumsum((scaled - means) ** 2)) / (n + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    horizon = n * np.log1p(n)
    if planned is not None:
        horizon = np.minimum(horizon, planned)
    bets: FloatArray = np.sqrt(2 * math.log(2 / (1 - level)) / (before * horizon))
    return bets


def _log_wealth(scaled: FloatArray, means: FloatArray, bets: FloatArray) -> FloatArray:
    """Return the log wealth of betting that the mean is above each of `means`, shape (n, means)."""
    largest = np.divide(_LARGEST_BET, means, out=np.full(means.shape, np.inf), where=means > 0)
    stakes = np.minimum(bets[:, None], largest)  # (n, means)
    return np.cumsum(np.log1p(stakes * (scaled[:, None] - means)), axis=0)


def _lower(scaled: FloatArray, bets: FloatArray, level: float) -> FloatArray:
    """Return the largest tried mean that is excluded after each sample, shape (n,); 0 if none is.

    Wealth falls as the mean rises, so that all means below an excluded one are excluded too.
    """
    rich, n = math.log(2 / (1 - level)), scaled.size
    bound, found = np.zeros(n), np.zeros(n)
    columns = max(1, _CELLS_AT_ONCE // max(n, 1))
    tried = np.arange(1, GRID) / GRID
    for start in range(0, tried.size, columns):
        means = tried[start : start + columns]
        excluded = np.maximum.accumulate(_log_wealth(scaled, means, bets), axis=0) >= rich  # (n, means)
        if not excluded.any():
            break
        found = np.where(excluded, means, 0.0).max(axis=1)
        bound = np.maximum(bound, found)
    return bound
