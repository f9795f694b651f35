"""Half characters: what is left of an emoji that was cut in two. No file and no model can take them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from harness.data.row import DataFile, Note, Row

_HALF = re.compile("[\ud800-\udfff]")
_SIGN = "\ufffd"


def with_whole_characters(read: DataFile, path: Path) -> DataFile:
    """Return `read` with U+FFFD for each half of a character in its rows, and a note if there was one."""
    mended = tuple(Row(row.source, row.number, dict(_pairs(row.values)), row.label_names) for row in read.rows)
    changed = [new.number for old, new in zip(read.rows, mended, strict=True) if old.values != new.values]
    if not changed:
        return read
    note = Note(
        str(path),
        "replaced",
        f"{len(changed):,} rows hold half a character (an emoji that was cut in two), first row {changed[0]:,}; "
        "each half was read as U+FFFD, the sign for a damaged character",
        len(changed),
    )
    return replace(read, rows=mended, notes=(*read.notes, note))


def _pairs(values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        yield _HALF.sub(_SIGN, str(key)), _whole(value)


def _whole(value: object) -> object:
    if isinstance(value, str):
        return _HALF.sub(_SIGN, value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return dict(_pairs(value)) if isinstance(value, dict) else value
