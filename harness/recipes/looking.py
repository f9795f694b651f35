"""What a recipe looks at while it trains, and what it tries before: the fields `watch` and `search`, checked."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from harness.protocols import BatchMetric, CorpusMetric, Executed, JudgedMetric, Metric, PairMetric

DEFAULT_TRIALS = 8


@dataclass(frozen=True, repr=False)
class Choice(Sequence[object]):
    """Two numbers of which one is chosen, where a tuple of two would be a range."""

    values: tuple[object, ...]

    @overload
    def __getitem__(self, place: int) -> object: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[object]: ...
    def __getitem__(self, place: int | slice) -> object:
        return self.values[place]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return repr(list(self.values))  # as it is declared


# (field, values tried) in the order in which the author named them.
Space = tuple[tuple[str, tuple[object, ...] | Choice], ...]


def check_watch(metric: object) -> str | None:
    """Return why `metric` cannot be watched while a model trains, None where it can."""
    if isinstance(metric, type):
        return f"is a class; write {metric.__name__}()"
    if isinstance(metric, PairMetric | JudgedMetric):
        return "compares two systems; watch a metric of single answers, such as ExactMatch()"
    if isinstance(metric, Executed):
        return "runs a model of its own; watch a metric that is computed at once, such as ExactMatch()"
    if getattr(metric, "needs_likelihood", False):
        return "is computed from likelihoods, which the dev loss already shows; leave watch out"
    if not isinstance(metric, Metric | BatchMetric | CorpusMetric):
        return "is no metric; give one of single answers, such as ExactMatch()"
    return None


def read_space(
    search: Mapping[str, Sequence[object]] | Space, *, known: frozenset[str], adapter: frozenset[str]
) -> Space | str:
    """Return the space that `search` declares, or what is wrong with it. known, adapter: names of fields."""
    pairs = tuple(search.items()) if isinstance(search, Mapping) else search
    named = known | adapter
    if not pairs:
        return 'tries nothing; give fields and values, such as {"learning_rate": (1e-5, 1e-3)}'
    space = []
    for name, values in pairs:
        if name not in named:
            return f"{name!r} is no field of the recipe or its adapter; give one of {', '.join(sorted(named))}"
        if isinstance(values, str | bytes) or not isinstance(values, Sequence):
            return (
                f"{name}={values!r} is neither a list of values to choose from, such as [4, 8], nor a tuple "
                "(lowest, highest) of a range"
            )
        # A list within, as of module names, would fail when the declaration is hashed.
        tried = tuple(tuple(one) if isinstance(one, list) else one for one in values)
        if len(tried) < 2:
            return f"{name} has {len(tried)} value(s) to try; give 2 or more, or set the field itself"
        twice = next((one for place, one in enumerate(tried) if one in tried[:place]), None)
        if twice is not None:
            return f"{name} has {twice!r} more than once; name each value once"
        if not (isinstance(values, tuple) and is_range(tried)):
            # Two numbers alone would be read as a range; any other choice is kept as it always was.
            space.append((name, Choice(tried) if is_range(tried) else tried))
        elif _rises(tried):
            space.append((name, tried))
        else:
            low_first = ", ".join(repr(one) for one in reversed(tried))
            return (
                f"{name}={tried} is no range, which is (lowest, highest): write ({low_first}), or a list, "
                f"{list(tried)}, to choose one of the two"
            )
    return tuple(space)


def is_range(values: Sequence[object]) -> bool:
    """Tell a range, a tuple (lowest, highest) of two numbers, from values to choose among."""
    return not isinstance(values, Choice) and len(values) == 2 and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rises(values: Iterable[object]) -> bool:
    low, high = (float(one) for one in values if isinstance(one, int | float))
    return math.isfinite(low) and math.isfinite(high) and low < high
