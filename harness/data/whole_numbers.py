"""Whole numbers that became fractions on their way: a column of 3.0, as a table with gaps is written, is one of 3."""

import re
from collections.abc import Sequence

from harness.data.row import Note, Row

_WRITTEN = re.compile(r"-?\d{1,15}\.0")
_LARGEST = 2**53


def with_whole_numbers(rows: Sequence[Row], source: str) -> tuple[tuple[Row, ...], tuple[Note, ...]]:
    """Return `rows` with whole numbers in each field that has nothing but whole numbers and a 3.0 among them.

    In a table as text, "3.0" becomes "3" if every cell that is filled is written so. A field with one true fraction
    stays as it is.
    """
    fields = [field for field in _candidates(rows) if _is_whole(rows, field)]
    if not fields:
        return tuple(rows), ()
    changed = tuple(Row(row.source, row.number, _changed(row, fields), row.label_names) for row in rows)
    notes = [
        Note(
            source,
            "whole_numbers",
            f"field {field!r} has whole numbers written as 3.0, which were read as 3",
            len(rows),
        )
        for field in fields
    ]
    return changed, tuple(notes)


def _candidates(rows: Sequence[Row]) -> list[str]:
    """Return the fields whose first filled value may be such a number: a cheap look before the whole one."""
    seen: dict[str, bool] = {}
    for row in rows:
        for field, value in row.values.items():
            if field not in seen and value is not None and value != "":
                seen[field] = isinstance(value, int | float) or (
                    isinstance(value, str) and bool(_WRITTEN.fullmatch(value))
                )
    return [field for field, maybe in seen.items() if maybe]


def _is_whole(rows: Sequence[Row], field: str) -> bool:
    fractions = 0
    for row in rows:
        value = row.values.get(field)
        if value is None or value == "" or (isinstance(value, int) and not isinstance(value, bool)):
            continue
        if not _is_whole_fraction(value):
            return False
        fractions += 1
    return fractions > 0


def _is_whole_fraction(value: object) -> bool:
    if isinstance(value, str):
        return _WRITTEN.fullmatch(value) is not None
    return isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST


def _changed(row: Row, fields: Sequence[str]) -> dict[str, object]:
    values = dict(row.values)
    for field in fields:
        value = values.get(field)
        if isinstance(value, float):
            values[field] = int(value)
        elif isinstance(value, str):
            values[field] = value.removesuffix(".0")
    return values
