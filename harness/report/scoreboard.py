"""Every system with every metric and its interval, one table a split."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.draw import Axis, IntervalDrawing, axis_over, draw_interval
from harness.report.read import DEV, HOLDOUT, finite, primary_metric
from harness.store.rows import Evidence, SystemMeanRow

_TITLES = {HOLDOUT: "Holdout", DEV: "Development set"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric of one system; `best` within its table, `drawing` on the axis of its column."""

    metric: str
    mean: float | None
    low: float | None
    high: float | None
    samples: int
    best: bool
    drawing: IntervalDrawing


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLine:
    system: str
    role: str
    model: str
    description: str
    chosen: bool
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    metric: str
    better: str
    primary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """The systems measured on one split."""

    title: str
    split: str
    samples: int
    columns: tuple[Column, ...]
    lines: tuple[SystemLine, ...]


def score_tables(evidence: Evidence) -> tuple[ScoreTable, ...]:
    """Return the holdout first, then DEV."""
    tables = [
        _table(evidence, [row for row in evidence.system_means if row.split == split], title)
        for split, title in _TITLES.items()
    ]
    return tuple(table for table in tables if table is not None)


def _table(evidence: Evidence, rows: Sequence[SystemMeanRow], title: str) -> ScoreTable | None:
    if not rows:
        return None
    primary = primary_metric(evidence)
    names = sorted(dict.fromkeys(row.metric for row in rows), key=lambda metric: metric != primary)
    better = {row.metric: row.better for row in rows}
    columns = tuple(Column(metric=name, better=better[name], primary=name == primary) for name in names)
    return ScoreTable(
        title=title,
        split=rows[0].split,
        samples=max(row.samples for row in rows),
        columns=columns,
        lines=_lines(evidence, rows, columns),
    )


def _lines(evidence: Evidence, rows: Sequence[SystemMeanRow], columns: Sequence[Column]) -> tuple[SystemLine, ...]:
    by_place = {(row.system, row.metric): row for row in rows}
    axes = {column.metric: _axis([row for row in rows if row.metric == column.metric]) for column in columns}
    best = {column.metric: _best([row for row in rows if row.metric == column.metric]) for column in columns}
    measured = {row.system for row in rows}
    return tuple(
        SystemLine(
            system=system.system,
            role=system.role,
            model=system.model,
            description=system.description,
            chosen=system.chosen,
            cells=tuple(
                _cell(by_place.get((system.system, column.metric)), axes[column.metric], best[column.metric])
                for column in columns
            ),
        )
        for system in evidence.systems
        if system.system in measured
    )


def _cell(row: SystemMeanRow | None, axis: Axis, best: float | None) -> Cell | None:
    if row is None:
        return None
    mean, low, high = finite(row.mean), finite(row.low), finite(row.high)
    return Cell(
        metric=row.metric,
        mean=mean,
        low=low,
        high=high,
        samples=row.samples,
        best=mean is not None and mean == best,
        drawing=draw_interval(axis, low, mean, high),
    )


def _axis(rows: Sequence[SystemMeanRow]) -> Axis:
    return axis_over(finite(value) for row in rows for value in (row.low, row.mean, row.high))


def _best(rows: Sequence[SystemMeanRow]) -> float | None:
    """Return the best mean, or None if nothing can be best: fewer than two systems, or all equal."""
    means = [mean for row in rows if (mean := finite(row.mean)) is not None]
    if len(set(means)) < 2:
        return None
    return min(means) if rows[0].better == "lower" else max(means)
