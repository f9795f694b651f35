"""Numbers as people read them: the page, the terminal and JUnit all say them through these functions.

unit: "%" for a fraction, shown in percent and its differences in points ("pts"); any other text is written after
the number ("s", "tokens"); "" is a plain number.

Which rules of computing made a number: a page of other rules is named as such, not called wrong.

Whatever changes a number, or the sentence in which a criterion tells it, raises the version.
"""

import math
from dataclasses import dataclass

FRACTION = "%"


@dataclass(frozen=True, slots=True)
class Counts:
    """What a number was measured on, as the end of its text: ", n = 1,200, 3 seeds".

    Args:
        groups: How many the samples count as, where some hang together: "n = 10 groups of 200 samples".
    """

    samples: int
    seeds: int | None = None
    groups: int | None = None

    def __str__(self) -> str:
        n = f", n = {sample_count(self.samples, self.groups)}"
        return n if self.seeds is None else f"{n}, {count(self.seeds, 'seed')}"


def difference_text(
    difference: float,
    low: float,
    high: float,
    *,
    unit: str,
    of: Counts | None = None,
) -> str:
    """Return a difference with its doubt, such as "+0.8 pts [-1.1, +2.6], n = 1,200, 3 seeds".

    Args:
        of: What it was measured on.
    """
    decimals = _decimals(difference, low, high, unit)
    span = f"[{_number(low, unit, decimals, sign='+')}, {_number(high, unit, decimals, sign='+')}]"
    suffix = _suffix(_points(unit))
    return f"{_number(difference, unit, decimals, sign='+')}{suffix} {span}{of or ''}"


def mean_text(
    mean: float,
    low: float,
    high: float,
    *,
    unit: str,
    of: Counts | None = None,
) -> str:
    """Return a mean with its doubt, such as "83.4 % [81.2, 85.5], n = 1,200"."""
    decimals = _decimals(mean, low, high, unit)
    span = f"[{_number(low, unit, decimals)}, {_number(high, unit, decimals)}]"
    return f"{_number(mean, unit, decimals)}{_suffix(unit)} {span}{of or ''}"


def amount(value: float, *, unit: str) -> str:
    """Return a mean or a threshold on one, such as "83.4 %" or "0.35 s"."""
    return f"{_number(value, unit, _own_decimals(value, unit))}{_suffix(unit)}"


def rounded(value: float, *, unit: str) -> str:
    """Return a mean that stands without its interval: one decimal of a percentage, else three digits."""
    return f"{_number(value, unit, _three_digits(value, unit))}{_suffix(unit)}"


def change(value: float, *, unit: str, sign: bool = True) -> str:
    """Return a difference or a threshold on one, such as "+5.0 pts", or "5.0 pts" without its sign."""
    text = _number(value, unit, _own_decimals(value, unit), sign="+" if sign else "")
    return f"{text}{_suffix(_points(unit))}"


def about(number: float) -> str:
    """Return a count in two significant digits, such as "640" or "12,000"; 1 at least; "∞" if it has no end."""
    if math.isinf(number):
        return "∞"
    number = max(number, 1.0)
    return f"{round(number, min(0, 1 - math.floor(math.log10(number)))):,.0f}"


def span(low: str, high: str) -> str:
    """Return " [450; 900]", or nothing if both ends read the same."""
    return "" if low == high else f" [{low}; {high}]"


def p_text(p_value: float) -> str:
    """Return "p = 0.012", "p < 0.001" or "p = 1"."""
    if p_value < 0.001:
        return "p < 0.001"
    return "p = 1" if p_value >= 0.9995 else f"p = {p_value:.3f}"


def confidence(level: float) -> str:
    """Return "95 %", "98.3 %" or "99.987 %": two digits of what is left open, and one decimal at least."""
    left_open = 100 * (1 - level)
    decimals = 1 if left_open >= 1 else 1 - math.floor(math.log10(left_open))
    return f"{f'{100 * level:.{decimals}f}'.rstrip('0').rstrip('.')} %"


def count(number: int, noun: str) -> str:
    """Return "1 seed" or "1,200 samples"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def sample_count(samples: int, groups: int | None) -> str:
    """Return "1,200", or "10 groups of 200 samples" where samples that hang together count as one."""
    return f"{samples:,}" if groups is None else f"{count(groups, 'group')} of {count(samples, 'sample')}"


def _points(unit: str) -> str:
    return "pts" if unit == FRACTION else unit


def _suffix(unit: str) -> str:
    return f" {unit}" if unit else ""


def _number(value: float, unit: str, decimals: int, *, sign: str = "") -> str:
    if not math.isfinite(value):
        return "?" if math.isnan(value) else ("+∞" if sign else "∞") if value > 0 else "-∞"
    shown = round(value * 100 if unit == FRACTION else value, decimals)
    return f"{shown + 0.0:{sign},.{decimals}f}"  # + 0.0 turns -0.0 into 0.0


def _decimals(value: float, low: float, high: float, unit: str) -> int:
    """Two significant digits of the interval's width, since finer ones are noise; three of the value without one."""
    width = (high - low) * (100 if unit == FRACTION else 1)
    if not math.isfinite(width) or width <= 0:
        return min(_own_decimals(value, unit), _three_digits(value, unit))
    return min(6, max(1 if unit == FRACTION else 0, 1 - math.floor(math.log10(width))))


def _three_digits(value: float, unit: str) -> int:
    """Decimals of three significant digits; one of a percentage."""
    if unit == FRACTION or value == 0 or not math.isfinite(value):
        return 1 if unit == FRACTION else 0
    return max(0, 2 - math.floor(math.log10(abs(value))))


def _own_decimals(value: float, unit: str) -> int:
    """Decimals of a number that has no interval: as written, up to four; two digits of what is smaller."""
    shown = value * 100 if unit == FRACTION else value
    if not math.isfinite(shown):
        return 0
    if unit != FRACTION and 1e-9 < abs(shown) < 1e-3:
        return 1 - math.floor(math.log10(abs(shown)))  # the price of a token's worth
    needed = len(f"{shown:.4f}".rstrip("0").partition(".")[2])
    return max(needed, 1) if unit == FRACTION else needed


# 1: before equal inputs were clusters. 2: clusters of equal inputs, also in the intervals of rare failures; needed
# samples by projecting the data; the interval of a preference is that of its difference.
STATISTICS = 2
