"""Drawn experiments whose truth is known: scores of two systems on one holdout, as compare() takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.metrics.macro_f1 import MacroF1
from harness.stats.compare import SystemScores
from harness.types.protocols import Direction, FloatArray


@dataclass(frozen=True)
class Scored:
    """A metric by name and direction; its unit is read off the scores."""

    name: str
    better: Direction = "higher"


RIGHT = Scored("right")
SECONDS = Scored("seconds", better="lower")
MACRO_F1 = MacroF1()


def system(name: str, scores: FloatArray | NDArray[np.bool_], groups: Sequence[str] = ()) -> SystemScores:
    """Return `scores`, of shape (n,) or (seeds, n), as one system's."""
    rows = np.atleast_2d(scores).astype(np.float64)
    return SystemScores(name, tuple(f"s{place}" for place in range(rows.shape[1])), rows, (), tuple(groups))


@dataclass(frozen=True, kw_only=True)
class World:
    """Samples of unlike difficulty, two systems, right or wrong.

    share: mean share right of the baseline. gain: what the tuned system's expected share is above that. agreement: how
    often an answer follows the luck that both systems share, beyond the difficulty. seeds: trainings of the tuned
    system; seed_spread: standard deviation of their expected shares. groups: so many share one difficulty, 0 for none.
    """

    samples: int
    share: float = 0.7
    gain: float = 0.0
    agreement: float = 0.5
    seeds: int = 1
    seed_spread: float = 0.0
    groups: int = 0

    def draw(self, generator: np.random.Generator) -> tuple[SystemScores, SystemScores]:
        """Return the baseline and the tuned system."""
        chances, names = self._chances(generator)
        shared = generator.random(self.samples)
        baseline = self._thrown(generator, shared) < chances
        luck = self.seed_spread * generator.normal(size=(self.seeds, 1))
        # Clipping would bend the truth: the shifts move chances that stay within [0, 1].
        raised = chances + np.clip(self.gain + luck, -chances.min(), 1 - chances.max())
        tuned = np.stack([self._thrown(generator, shared) < row for row in raised])
        return system("baseline", baseline, names), system("tuned", tuned, names)

    def _chances(self, generator: np.random.Generator) -> tuple[FloatArray, list[str]]:
        """Return how likely the baseline is right on each sample, within 0.2 of `share`, and the groups' names."""
        if not self.groups:
            return self.share + generator.uniform(-0.2, 0.2, self.samples), []
        codes = np.arange(self.samples) % self.groups
        return (self.share + generator.uniform(-0.2, 0.2, self.groups))[codes], [f"g{code}" for code in codes]

    def _thrown(self, generator: np.random.Generator, shared: FloatArray) -> FloatArray:
        alike: FloatArray = np.where(
            generator.random(self.samples) < self.agreement, shared, generator.random(self.samples)
        )
        return alike


def again(pair: tuple[SystemScores, SystemScores], copies: int) -> tuple[SystemScores, SystemScores]:
    """Return the same inputs, each so many times and answered alike."""
    names = [f"same input as {name}" for name in pair[0].sample_ids for _ in range(copies)]
    found = []
    for side in pair:
        rows = tuple(tuple(detail for detail in row for _ in range(copies)) for row in side.details)
        scores = np.repeat(side.scores, copies, axis=1)
        ids = tuple(map(str, range(scores.shape[1])))
        found.append(replace(side, sample_ids=ids, scores=scores, details=rows, clusters=tuple(names)))
    return found[0], found[1]


def grouped(
    generator: np.random.Generator, sizes: Sequence[int], *, effect: float = 0.55
) -> tuple[SystemScores, SystemScores]:
    """Return systems whose differences move together within a group, with a mean difference of 0; scores in [0, 1]."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    moved = effect * generator.normal(size=len(sizes))[codes] + generator.normal(size=codes.size)
    half = np.clip(0.05 * moved, -0.45, 0.45)
    names = [f"g{code}" for code in codes]
    return system("baseline", 0.5 - half, names), system("tuned", 0.5 + half, names)


def skewed(generator: np.random.Generator, samples: int) -> tuple[SystemScores, SystemScores]:
    """Return log-normal seconds with a shared difficulty; the tuned system takes as long."""
    difficulty = generator.normal(size=samples)
    taken = [np.exp(0.5 * difficulty + 0.5 * generator.normal(size=samples)) for _ in range(2)]
    return system("baseline", taken[0]), system("tuned", taken[1])


def shares(generator: np.random.Generator, samples: int) -> tuple[SystemScores, SystemScores]:
    """Return bounded scores, such as an overlap with the reference, many of them 1."""
    difficulty = generator.beta(2, 1, size=samples)
    scored = [
        np.where(generator.random(samples) < 0.3, 1.0, difficulty * generator.beta(4, 1, samples)) for _ in range(2)
    ]
    return system("baseline", scored[0]), system("tuned", scored[1])


def labelled(generator: np.random.Generator, samples: int) -> tuple[SystemScores, SystemScores]:
    """Return what two equal systems say where labels are unevenly common, for macro F1."""
    truth = generator.choice(4, p=[0.5, 0.25, 0.15, 0.1], size=samples)
    hard = generator.random(samples) < 0.5
    pair = []
    for name in ("baseline", "tuned"):
        wrong = generator.random(samples) < np.where(hard, 0.45, 0.05)
        said = np.where(wrong, generator.integers(0, 4, samples), truth)
        plain = system(name, said == truth)
        pair.append(replace(plain, details=(tuple(zip(truth.tolist(), said.tolist(), strict=True)),)))
    return pair[0], pair[1]
