"""The same evidence, as if there were more samples like it: what an interval would be, and how many would decide.

Units are samples, or clusters where some hang together. Seen are the units in their order, as many times as it takes,
and of a rest those evenly spread over the differences.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import Clusters, Interval, cluster_count, unit_means
from harness.types.protocols import FloatArray

# Units up to which intervals are computed, cheap ones and those that are drawn or bet on; beyond, they are scaled.
CHEAP, COSTLY = 20_000, 2_000
# Of few right-or-wrong answers one more may decide, and the next not again: each number is tried.
_EACH = 400
_MOST = 100_000_000
_PRECISION = 0.005  # Of the answer, where a unit more or less costs an interval.

Places = NDArray[np.int64]
At = Callable[[int], Interval]


@dataclass(frozen=True, eq=False)
class Projection:
    """What the intervals of a comparison would be with other numbers of units.

    Args:
        units, samples: As observed.
        difference, own: Of the difference, and of the tuned system alone, at so many units.
        most: Up to how many units they can be asked for.
        one_seed: The same if the seeds differed by nothing.
    """

    units: int
    samples: int
    difference: At
    own: At
    most: int
    one_seed: "Projection | None" = None

    def samples_of(self, units: int) -> int:
        """Return how many samples so many units are."""
        return round(units * self.samples / self.units)


def units_that_decide(
    at: At, decided: Callable[[Interval], bool], value: float, *, units: int, most: int
) -> int | None:
    """Return the least number of units at which the interval `at` decides, more than `units`; None if none does.

    Args:
        value: The estimate, from which the interval's ends come nearer as units are added; beyond `most` with the
            root of their number.
    """
    last, end = units, min(units, most)
    if most == CHEAP:
        for last in range(units + 1, _EACH + 1):
            if decided(at(last)):
                return last
        end = last
    while last < most:
        end = min(2 * last, most)
        if decided(at(end)):
            return _between(at, decided, last, end)
        last = end
    return _scaled(at(end), decided, value, end)


def _between(at: At, decided: Callable[[Interval], bool], low: int, high: int) -> int:
    """Return the least number above `low` that decides, found by halving; `high` does."""
    while high - low > max(1, int(_PRECISION * high) if high > COSTLY else 1):
        middle = (low + high) // 2
        low, high = (low, middle) if decided(at(middle)) else (middle, high)
    return high


def _scaled(interval: Interval, decided: Callable[[Interval], bool], value: float, units: int) -> int | None:
    def scaled(more: int) -> Interval:
        root = math.sqrt(units / more)
        return Interval(value - (value - interval.low) * root, value + (interval.high - value) * root)

    if not (interval.low <= value <= interval.high and math.isfinite(interval.high - interval.low)):
        return None
    return _between(scaled, decided, units, _MOST) if decided(scaled(_MOST)) else None


def projected(differences: FloatArray, clusters: Clusters | None, units: int) -> tuple[Places, Clusters | None]:
    """Return which samples are seen, in which order, if there are so many units, and the cluster of each.

    Args:
        differences: Shape (n,), by which the rest is spread.
    """
    means = unit_means(differences, clusters)
    whole, rest = divmod(units, means.size)
    spread = ((np.arange(rest) + 0.5) * means.size / max(rest, 1)).astype(np.int64)
    chosen = np.concatenate([np.tile(np.arange(means.size), whole), np.sort(np.argsort(means, kind="stable")[spread])])
    if clusters is None:
        return chosen, None
    order = np.argsort(clusters, kind="stable")
    sizes = np.bincount(clusters, minlength=cluster_count(clusters))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    places = np.concatenate([order[starts[unit] : starts[unit] + sizes[unit]] for unit in chosen])
    return places, np.repeat(np.arange(chosen.size), sizes[chosen])
