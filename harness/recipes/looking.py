"""What a recipe looks at while it trains, and what it tries before: the fields `watch` and `search`, checked."""

import math
from collections.abc import Mapping, Sequence

from harness.protocols import BatchMetric, CorpusMetric, Executed, JudgedMetric, Metric, PairMetric

DEFAULT_TRIALS = 8
# (field, values tried) in the order in which the author named them.
Space = tuple[tuple[str, tuple[object, ...]], ...]


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
        if isinstance(values, str) or not isinstance(values, Sequence):
            return f"{name}={values!r} is no sequence; give (lowest, highest), or the values to try"
        tried = tuple(values)
        if len(tried) < 2:
            return f"{name} has {len(tried)} value(s) to try; give 2 or more, or set the field itself"
        if is_range(tried) and not _rises(tried):
            return f"{name}={tried} is no range; give (lowest, highest), the first the smaller"
        space.append((name, tried))
    return tuple(space)


def is_range(values: Sequence[object]) -> bool:
    """Tell (lowest, highest), two numbers, from values to choose among; two texts or truths are a choice."""
    return len(values) == 2 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def _rises(values: Sequence[object]) -> bool:
    low, high = (float(one) for one in values if isinstance(one, int | float))
    return math.isfinite(low) and math.isfinite(high) and low < high
