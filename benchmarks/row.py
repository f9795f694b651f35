"""One line of the table: ours and theirs, measured one after the other in one process."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

REPEATS = int(os.environ.get("BENCH_REPEATS", "2"))

Result = TypeVar("Result")
Section = Callable[[], Iterator["Row"]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    ours, theirs: seconds, or seconds a unit, one a repeat. target: how many times faster ours is to be, None where
    nothing was set. equal: what was checked to be the same. note: why a target is missed, or how it was measured.
    """

    work: str
    against: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    equal: str = ""
    target: float | None = None
    note: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster ours is: each repeat's, ascending."""
        return tuple(sorted(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)))

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.ratio >= self.target


def timed(work: Callable[[], Result], *, repeats: int = REPEATS) -> tuple[tuple[float, ...], Result]:
    """Return the seconds of each repeat and the last result."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
    return tuple(seconds), result
