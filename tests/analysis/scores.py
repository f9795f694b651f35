"""Scores of systems that never ran."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats.compare import SystemScores
from harness.types.protocols import Direction


@dataclass(frozen=True)
class Right:
    name: str = "right"
    better: Direction = "higher"


@dataclass(frozen=True)
class Seconds:
    name: str = "seconds"
    better: Direction = "lower"
    unit: str = "s"


@dataclass(frozen=True)
class Loss:
    """A plain number, lower is better."""

    name: str = "loss"
    better: Direction = "lower"
    unit: str = ""


def scored(
    system: str, scores: object, *, groups: Sequence[str | None] = (), details: tuple[tuple[object, ...], ...] = ()
) -> SystemScores:
    """scores: shape (n,) or (seeds, n)."""
    values = np.atleast_2d(np.asarray(scores, dtype=float))
    ids = tuple(f"s{place}" for place in range(values.shape[1]))
    return SystemScores(system, ids, values, details=details, clusters=tuple(groups))
