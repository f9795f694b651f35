"""The matrix of tasks and steps -> a table whose cells are shaded by how good they are in their column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.numbers import estimate

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

    content: Mapping[str, Any]
    columns: tuple[tuple[str, str, str, int, bool], ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


def heat_tables(contents: Sequence[Mapping[str, Any]]) -> tuple[HeatTable, ...]:
    """Return one table for each stored `Continual`."""
    return tuple(_table(content) for content in contents)


def _table(content: Mapping[str, Any]) -> HeatTable:
    columns = content["columns"]
    shaded = [_shades([cell["value"] for cell in column["cells"]], column["better"]) for column in columns]
    return HeatTable(
        content=content,
        columns=tuple(
            (column["task"], column["metric"], column["better"], column["samples"], not column["learned"])
            for column in columns
        ),
        rows=tuple(
            (
                name,
                tuple(
                    HeatCell(
                        score=estimate(column["cells"][step], column["unit"]),
                        shade=shades[step],
                        learned=step in column["learned"],
                    )
                    for column, shades in zip(columns, shaded, strict=True)
                ),
            )
            for step, name in enumerate(content["steps"])
        ),
    )


def _shades(values: Sequence[float], better: str) -> list[int]:
    low, high = min(values), max(values)
    if low == high:
        return [0] * len(values)
    shares = [(value - low) / (high - low) for value in values]
    return [round(_SHADES * (share if better == "higher" else 1 - share)) for share in shares]
