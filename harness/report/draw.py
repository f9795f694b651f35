"""Intervals -> positions on an axis, in percent of its width: what the SVG of the templates draws.

The matrix of tasks and steps -> a table whose cells are shaded by how good they are in their column.

The recipes of one experiment side by side, as the page draws them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.continual import Continual
from harness.analysis.estimate import Estimate
from harness.analysis.recipe_ranking import Forgot, Ladder, Rung
from harness.experiment.criteria import Finding
from harness.report.read import estimate, finite, part_of, rounded_or_unknown

_MARGIN = 0.08
_MOST_TICKS = 5
_NARROWEST = 1e-9


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale; values beyond its ends, infinite ones too, are drawn at the end."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return the position of `value` in percent, 0 to 100."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def ticks(self) -> tuple[float, ...]:
        """Return at most five round values inside the axis."""
        step = _round_step((self.high - self.low) / _MOST_TICKS)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return tuple(round(step * place, 12) for place in range(first, last + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalDrawing:
    """Where each part of one interval stands, in percent; None if there is nothing to draw.

    Args:
        open_low, open_high: The interval goes on beyond the axis.
        good: The side of the threshold that meets the criterion.
    """

    low: float
    high: float
    point: float | None
    open_low: bool
    open_high: bool
    threshold: float | None = None
    zero: float | None = None
    good: tuple[float, float] | None = None
    ticks: tuple[tuple[float, float], ...] = ()


def axis_over(values: Iterable[float | None]) -> Axis:
    """Return an axis with a margin around all finite `values`."""
    known = [value for value in values if value is not None and math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    size = max(abs(low), abs(high))
    # Values that differ only in their last digits count as one: a narrower axis would have no width in floats.
    width = high - low if high - low > _NARROWEST * size else size
    width = max(width, _NARROWEST)
    return Axis(low - _MARGIN * width, high + _MARGIN * width)


def symmetric_axis(values: Iterable[float | None]) -> Axis:
    """Return an axis with zero in its middle that holds all finite `values`."""
    reach = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0) or 1.0
    return Axis(-reach * (1 + _MARGIN), reach * (1 + _MARGIN))


def draw_interval(axis: Axis, low: float | None, point: float | None, high: float | None) -> IntervalDrawing:
    """Return the interval on `axis`; a bound that is None is open."""
    return IntervalDrawing(
        low=0.0 if low is None else axis.at(low),
        high=100.0 if high is None else axis.at(high),
        point=None if point is None else axis.at(point),
        open_low=low is None,
        open_high=high is None,
        zero=axis.at(0.0) if axis.low < 0 < axis.high else None,
    )


def draw_finding(finding: Finding) -> IntervalDrawing | None:
    """Return the criterion's interval against its threshold, or None if nothing was measured."""
    if not (math.isfinite(finding.value) and math.isfinite(finding.threshold)):
        return None
    marks = [mark for mark in (finding.low, finding.value, finding.high, finding.threshold) if math.isfinite(mark)]
    axis = axis_over(_with_zero_if_near(marks))
    drawn = draw_interval(axis, finite(finding.low), finding.value, finite(finding.high))
    threshold = axis.at(finding.threshold)
    return IntervalDrawing(
        low=drawn.low,
        high=drawn.high,
        point=drawn.point,
        open_low=drawn.open_low,
        open_high=drawn.open_high,
        zero=drawn.zero,
        threshold=threshold,
        good=(threshold, 100.0) if finding.good_side == "above" else (0.0, threshold),
        ticks=tuple((axis.at(tick), tick) for tick in axis.ticks()),
    )


def _with_zero_if_near(marks: Sequence[float]) -> list[float]:
    """Add zero if it is no further away than the marks lie apart: a far zero would squeeze the interval."""
    low, high = min(marks), max(marks)
    return [*marks, 0.0] if min(abs(low), abs(high)) <= high - low else list(marks)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


_SHADES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """shade: 0 for the column's worst score to 5 for its best. learned: the step of this row trained on the task."""

    score: str
    shade: int
    learned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatTable:
    """One recipe: columns are (task, metric, better, samples, is a guard), rows a step's name and its cells."""

    content: Continual
    columns: tuple[tuple[str, str, str, int, bool], ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


def heat_tables(contents: Sequence[Continual]) -> tuple[HeatTable, ...]:
    """Return one table for each stored `Continual`."""
    return tuple(_table(content) for content in contents)


def _table(content: Continual) -> HeatTable:
    columns = content.columns
    shaded = [_shades([cell.value for cell in column.cells], column.better) for column in columns]
    return HeatTable(
        content=content,
        columns=tuple(
            (column.task, column.metric, column.better, column.samples, not column.learned) for column in columns
        ),
        rows=tuple(
            (
                name,
                tuple(
                    HeatCell(
                        score=estimate(column.cells[step], column.unit),
                        shade=shades[step],
                        learned=step in column.learned,
                    )
                    for column, shades in zip(columns, shaded, strict=True)
                ),
            )
            for step, name in enumerate(content.steps)
        ),
    )


def _shades(values: Sequence[float], better: str) -> list[int]:
    low, high = min(values), max(values)
    if low == high:
        return [0] * len(values)
    shares = [(value - low) / (high - low) for value in values]
    return [round(_SHADES * (share if better == "higher" else 1 - share)) for share in shares]


@dataclass(frozen=True, slots=True, kw_only=True)
class RungLine:
    """One recipe. trainable: in words, with its share of all. forgot: one entry a guard, None if none was asked."""

    rung: Rung
    drawing: IntervalDrawing | None
    trainable: str
    forgot: tuple[Forgot | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderView:
    """baseline: what gains are measured against. trainable, memory: whether any recipe has them.

    Args:
        untuned: (guard, the untuned model's mean in words).
    """

    baseline: str | None
    trainable: bool
    memory: bool
    guards: tuple[str, ...]
    untuned: tuple[tuple[str, str], ...]
    lines: tuple[RungLine, ...]


def ladder_view(ladder: Ladder | None) -> LadderView | None:
    """Return the recipes ready to be drawn; those that an older version stored have fewer columns."""
    if ladder is None:
        return None
    rungs = ladder.rungs
    axis = symmetric_axis(end for rung in rungs for end in _ends(rung.gain))
    asked = [forgot for rung in rungs for forgot in rung.forgot]
    guards = tuple(dict.fromkeys(forgot.guard for forgot in asked))
    untuned = {forgot.guard: rounded_or_unknown(finite(forgot.untuned), forgot.unit) for forgot in asked}
    return LadderView(
        baseline=ladder.baseline,
        trainable=any(rung.trainable for rung in rungs),
        memory=any(rung.memory for rung in rungs),
        guards=guards,
        untuned=tuple(untuned.items()),
        lines=tuple(
            RungLine(
                rung=rung,
                drawing=draw_interval(axis, *_ends(rung.gain)) if rung.gain else None,
                trainable=part_of(rung.trainable, rung.total),
                forgot=tuple(next((one for one in rung.forgot if one.guard == guard), None) for guard in guards),
            )
            for rung in rungs
        ),
    )


def _ends(gain: Estimate | None) -> tuple[float | None, float | None, float | None]:
    return (finite(gain.low), finite(gain.value), finite(gain.high)) if gain else (None, None, None)
