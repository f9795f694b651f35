"""One row of a data file with its place, and what reading the file found.

Half characters: what is left of an emoji that was cut in two. No file and no model can take them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

NoteKind = Literal["read_as", "encoding", "separator", "header", "place", "whole_numbers", "replaced", "left_out"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row and its place.

    Attributes:
        source: The file, as the user named it; of a folder, the file inside it.
        number: Counted from 1; in JSONL it is the line, in CSV the record after the header. Blank lines count.
        values: What the row holds, by field.
        label_names: By field, the names of the classes that its whole numbers stand for: 2 is the third name. Only
            if the file itself says so, as a Parquet file written by `datasets` does.
    """

    source: str
    number: int
    values: Mapping[str, object]
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return f"{self.source}, row {self.number}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that reading a file decided, changed or left out, and that a person may want to check.

    Attributes:
        source: The file that it is about.
        kind: What it is about, for code.
        text: The same for people: one line, without the file's name.
        count: How many rows or characters it concerns; 0 if it is about the whole file.
    """

    source: str
    kind: NoteKind
    text: str
    count: int = 0

    @property
    def line(self) -> str:
        return f"{self.source}: {self.text}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that could not be read: its place, and why not, with the way out."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class DataFile:
    """The rows of a file or folder, the notes on how it was read, and the lines that are no rows."""

    rows: tuple[Row, ...]
    notes: tuple[Note, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


def listed(names: Iterable[object], *, most: int = 8) -> str:
    """Return `names` in quotes and with commas, the first `most` of them and how many more there are."""
    every = [repr(name) for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return f"{', '.join(every[:most])}{more}"


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
