"""Training seeds crossed with samples: what each adds to the doubt, and whether the next training would win too.

differences: shape (S, n), one row a training seed: tuned minus baseline on each sample.

Several sampled answers to one sample: averaged before anything else, since repeats are no samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats.intervals import Interval, paired_interval, require_finite, seed_interval
from harness.types.protocols import FloatArray

RESAMPLES = 10_000
_CELLS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Components:
    """Variances of one difference: of the seed, of the sample, and of their interaction with what is left."""

    seed: float
    sample: float
    interaction: float

    def error(self, seeds: int, samples: int) -> float:
        """Return the standard error of the mean difference over so many seeds and samples."""
        return math.sqrt(self.seed / seeds + self.sample / samples + self.interaction / (seeds * samples))


@dataclass(frozen=True, slots=True)
class SeedIntervals:
    """The mean difference three ways.

    Args:
        samples: T interval over samples of each sample's mean, for just these trainings.
        seeds: T interval over the trainings' means with S - 1 degrees of freedom, for just these samples.
        both: Seeds and samples drawn anew.
    """

    samples: Interval
    seeds: Interval
    both: Interval


def components(differences: FloatArray) -> Components:
    """Return the variance components by the mean squares of the two-way table; one below 0 is 0.

    Raises:
        ValueError: With fewer than two seeds or two samples, or if a difference is not finite.

    Source: Searle, Casella, McCulloch, Variance Components (1992), section 4.2.
    """
    seeds, n = _checked(differences)
    rows, columns = differences.mean(axis=1), differences.mean(axis=0)  # (S,), (n,)
    left = differences - rows[:, None] - columns + differences.mean()
    interaction = float((left**2).sum()) / ((seeds - 1) * (n - 1))
    return Components(
        seed=max(0.0, float(rows.var(ddof=1)) - interaction / n),
        sample=max(0.0, float(columns.var(ddof=1)) - interaction / seeds),
        interaction=interaction,
    )


def seed_intervals(differences: FloatArray, *, seed: int = 0, level: float = 0.95) -> SeedIntervals:
    """Return the interval over samples, over seeds, and over both.

    Raises:
        ValueError: With fewer than two seeds or two samples, or if a difference is not finite.
    """
    _checked(differences)
    return SeedIntervals(
        samples=paired_interval(differences.mean(axis=0), level=level),
        seeds=seed_interval(differences.mean(axis=1), level=level),
        both=two_way_interval(differences, seed=seed, level=level),
    )


def two_way_interval(
    differences: FloatArray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """Return the percentile interval where each resample draws seeds and samples anew, each with replacement.

    With few seeds it is too narrow (S seeds show (S - 1) / S of their variance): hold it beside the t interval.

    Raises:
        ValueError: With fewer than two seeds or two samples, or if a difference is not finite.

    Source: Owen, The Pigeonhole Bootstrap, Annals of Applied Statistics 1 (2007).
    """
    seeds, n = _checked(differences)
    generator, means = np.random.default_rng(seed), []
    rows = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=block)  # (block, S)
        weights = generator.multinomial(n, np.full(n, 1 / n), size=block)  # (block, n)
        means.append(np.einsum("bs,sn,bn->b", drawn, differences, weights, optimize=True) / (seeds * n))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


@dataclass(frozen=True, slots=True)
class NextTraining:
    """won: how many of `trainings` beat the baseline. probability: that the next one does, None with a single one."""

    won: int
    trainings: int
    probability: float | None


def next_training(means: FloatArray) -> NextTraining:
    """Return how likely one more training beats the baseline on the same samples.

    Args:
        means: Shape (S,), each training's mean difference. The probability is that of the t prediction of the next
            mean, with S - 1 degrees of freedom: unlike the share that won it is never 1 after three lucky ones.
    """
    from scipy.special import stdtr

    require_finite(means)
    won, trainings = int((means > 0).sum()), means.size
    if trainings < 2:
        return NextTraining(won, trainings, None)
    mean, spread = float(means.mean()), float(means.std(ddof=1)) * math.sqrt(1 + 1 / trainings)
    if spread == 0:
        return NextTraining(won, trainings, 0.5 + 0.5 * float(np.sign(mean)))
    return NextTraining(won, trainings, float(stdtr(trainings - 1, mean / spread)))


def _checked(differences: FloatArray) -> tuple[int, int]:
    if differences.ndim != 2 or min(differences.shape) < 2:
        raise ValueError(f"differences of shape {differences.shape}; two seeds and two samples are the least")
    require_finite(differences.ravel())
    return differences.shape[0], differences.shape[1]


def average_repeats(scores: FloatArray) -> FloatArray:
    """Return each sample's mean score, shape (n,), of `scores` of shape (repeats, n).

    n stays n whatever the number of repeats: they make a sample's score more exact and add no sample.

    Raises:
        ValueError: For another shape, or without a repeat.
    """
    if scores.ndim != 2 or scores.shape[0] == 0:
        raise ValueError(f"scores of shape {scores.shape}; (repeats, n) with one repeat or more is needed")
    means: FloatArray = scores.mean(axis=0)
    return means


def copied_repeats(answers: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Return which repeats, from 0, are the same as an earlier one on every sample.

    Args:
        answers: One row of texts a repeat. Repeats that come from a cache, or from greedy decoding, have a variance
            of 0 within samples that is not real; of sampled answers to more than a few samples not all agree by
            chance.
    """
    first: dict[tuple[str, ...], int] = {}
    return tuple(place for place, row in enumerate(answers) if first.setdefault(tuple(row), place) != place)
