"""Any real number of any library as a float: what a metric, a grader or a statistic may give."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from decimal import Decimal
from numbers import Real

import numpy as np


def equals_before(items: Iterable[Hashable]) -> list[int]:
    """Return how many equal items stand before each."""
    seen: Counter[Hashable] = Counter()
    found = []
    for item in items:
        found.append(seen[item])
        seen[item] += 1
    return found


def real_number(value: object) -> float | None:
    """Return `value` as a float; None for what is no finite real number.

    Real numbers are bool, int, float, Fraction and Decimal, those of numpy, and arrays and tensors without a dimension.
    Text is none, even if it spells one, and neither is an array of one element: which number was meant is a guess.
    """
    if isinstance(value, str | bytes):
        return None
    if getattr(value, "ndim", None) == 0 and not isinstance(value, Real) and hasattr(value, "item"):
        # numpy's own bool and 0-d arrays, and the 0-d tensors of torch, which may lie on an accelerator.
        value = value.item()
    if not isinstance(value, Real | Decimal | np.bool_):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def shown(value: object) -> str:
    """Return what `value` is, for an error: its type, its shape if it has one, and how it begins."""
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    where = f" of shape {tuple(shape)}" if isinstance(shape, tuple) and shape else ""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a user's own repr may fail, and the error is about something else
        return f"{kind}{where}"
    return f"{text[:60]}{'...' if len(text) > 60 else ''} ({kind}{where})"
