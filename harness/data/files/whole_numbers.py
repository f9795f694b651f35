"""Whole numbers that became fractions on their way: a column of 3.0, as a table with gaps is written, is one of 3."""

import re
from collections.abc import Sequence
from dataclasses import replace

from harness.data.files.row import DataFile, Note, Row

_WHOLE = re.compile(r"-?\d{1,15}(\.0)?")
_LARGEST = 2**53


def with_whole_numbers(files: Sequence[DataFile]) -> list[DataFile]:
    """Return `files` with whole numbers in each field that has nothing but whole numbers in all of them.

    In a table as text, "3.0" becomes "3". A field with one true fraction stays as it is, in every file: a holdout that
    happens to have none must not be written otherwise than the rows that are learned.
    """
    rows = [row for file in files for row in file.rows]
    fields = [field for field in _candidates(rows) if _is_whole(rows, field)]
    return [_changed(file, fields) for file in files] if fields else list(files)


def _candidates(rows: Sequence[Row]) -> list[str]:
    """Return the fields whose first filled value may be such a number: a cheap look before the whole one."""
    seen: dict[str, bool] = {}
    for row in rows:
        for field, value in row.values.items():
            if field not in seen and value is not None and value != "":
                seen[field] = isinstance(value, int | float) or (
                    isinstance(value, str) and bool(_WHOLE.fullmatch(value))
                )
    return [field for field, maybe in seen.items() if maybe]


def _is_whole(rows: Sequence[Row], field: str) -> bool:
    """Tell whether a field has whole numbers only, at least one of them written as 3.0."""
    values = [value for row in rows if (value := row.values.get(field)) is not None and value != ""]
    return all(map(_is_whole_number, values)) and any(map(_has_point, values))


def _is_whole_number(value: object) -> bool:
    if isinstance(value, str):
        return _WHOLE.fullmatch(value) is not None
    if isinstance(value, float):
        return value.is_integer() and abs(value) < _LARGEST
    return isinstance(value, int) and not isinstance(value, bool)


def _has_point(value: object) -> bool:
    """Tell whether a whole number is written as 3.0."""
    return isinstance(value, float) or (isinstance(value, str) and value.endswith(".0"))


def _changed(file: DataFile, fields: Sequence[str]) -> DataFile:
    found = {field: sum(_has_point(row.values.get(field)) for row in file.rows) for field in fields}
    notes = [
        Note(
            file.rows[0].source,
            "whole_numbers",
            f"field {field!r} has whole numbers written as 3.0, which were read as 3",
            count,
        )
        for field, count in found.items()
        if count
    ]
    if not notes:
        return file
    rows = tuple(Row(row.source, row.number, _values(row, fields), row.label_names) for row in file.rows)
    return replace(file, rows=rows, notes=(*file.notes, *notes))


def _values(row: Row, fields: Sequence[str]) -> dict[str, object]:
    values = dict(row.values)
    for field in fields:
        value = values.get(field)
        if isinstance(value, float):
            values[field] = int(value)
        elif isinstance(value, str):
            values[field] = value.removesuffix(".0")
    return values
