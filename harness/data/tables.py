"""Rows of a table: a header, and records of as many cells under it."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.data.row import DataFile, Note, Row
from harness.errors import InvalidData

Cells = Sequence[object]

# A header with one of these is one, whatever the cells below it hold.
_USUAL_NAMES = (
    "id index text sentence input output question answer answers prompt completion response instruction context source "
    "target label labels category class intent sentiment score rating title content message chosen rejected query "
    "reference tag tags language lang split timestamp date name type topic url "
    "文本 标签 问题 答案 回答 类别 意图"
)
_NAMES = frozenset(_USUAL_NAMES.split())
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_LONGEST_NAME = 60
_ENDS = ("?", "!", "。", "？", "！")


def rows_of_table(header: Cells, records: Sequence[Cells], path: Path) -> DataFile:
    """Return the rows under `header`. Records without a cell, or with only empty ones, are no rows but count.

    Raises InvalidData for a header that repeats or lacks a name, or that looks like a row.
    """
    names = ["" if name is None else str(name).strip() for name in header]
    names, kept, notes = _named(names, records, path)
    _check_header(names, records, path)
    rows, empty, repeated = [], 0, 0
    for number, cells in enumerate(records, start=1):
        if not cells:
            continue
        if all(cell in ("", None) or str(cell).isspace() for cell in cells):
            empty += 1
        elif list(cells) == list(header):
            repeated += 1
        else:
            values = zip(names, (cells[place] for place in kept), strict=True)
            rows.append(Row(str(path), number, dict(values)))
    if empty:
        notes.append(Note(str(path), "left_out", f"{empty:,} rows have only empty cells and were left out", empty))
    if repeated:
        text = f"{repeated:,} rows repeat the header, as in files that were joined, and were left out"
        notes.append(Note(str(path), "left_out", text, repeated))
    return DataFile(tuple(rows), tuple(notes))


def _named(names: list[str], records: Sequence[Cells], path: Path) -> tuple[list[str], list[int], list[Note]]:
    """Return the names and places of the columns that have one; those without may only be empty or count the rows."""
    repeated = [name for name, count in Counter(names).items() if name and count > 1]
    if repeated:
        raise InvalidData(
            f"{path}: the header {repeated[0]!r} stands more than once; give every column its own name in line 1"
        )
    notes = []
    for place in (place for place, name in enumerate(names) if not name):
        cells = [str(record[place]) for record in records if record and record[place] is not None]
        filled = [cell.strip() for cell in cells if cell.strip()]
        first = int(filled[0]) if filled and filled[0] in ("0", "1") else None
        counts = first is not None and filled == [str(number) for number in range(first, first + len(filled))]
        if filled and not counts:
            raise InvalidData(f"{path}: column {place + 1} has no header; name it in the first line")
        if counts:
            text = f"column {place + 1} has no header and only counts the rows; it was left out"
            notes.append(Note(str(path), "header", text))
    kept = [place for place, name in enumerate(names) if name]
    return [names[place] for place in kept], kept, notes


def _check_header(names: Sequence[str], records: Sequence[Cells], path: Path) -> None:
    """Refuse a first line that is a row: what it says would be lost, and every column would have a wrong name."""
    if any(name.lower() in _NAMES for name in names) or names == [str(number) for number in range(len(names))]:
        return
    reason = _why_a_row(names, records)
    if reason is not None:
        raise InvalidData(
            f"{path}: the first line looks like a row, not like a header: {reason}; write the columns' names above it, "
            "such as text,label"
        )


def _why_a_row(names: Sequence[str], records: Sequence[Cells]) -> str | None:
    number = next((name for name in names if _NUMBER.fullmatch(name)), None)
    if number is not None:
        return f"it has the number {number!r}"
    long = next((name for name in names if len(name) > _LONGEST_NAME or name.endswith(_ENDS)), None)
    if long is not None:
        return f"it has the text {long[:40]!r}"
    for place, name in enumerate(names):
        again = sum(
            len(cells) > place and cells[place] == name and list(cells[: len(names)]) != list(names)
            for cells in records
        )
        if again > 1:
            return f"{name!r} stands in {again:,} rows of its column too"
    return None
