"""Systems scored again on the same resamples of the samples they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.compare import SystemScores, statistic_of
from harness.protocols import CorpusMetric, FloatArray, Named

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
    codes = clusters_of(systems[0])
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


def clusters_of(system: SystemScores) -> NDArray[np.int64]:
    """Return the cluster number of each sample; a sample without a group is its own."""
    groups = system.clusters or (None,) * len(system.sample_ids)
    numbers: dict[object, int] = {}
    keys = [(place,) if group is None else group for place, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
