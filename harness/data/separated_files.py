"""Rows of CSV and TSV files, with the separator and the quotes that they really have."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.encodings import Decoded
from harness.data.row import DataFile, Note, Unreadable
from harness.data.tables import rows_of_table
from harness.errors import InvalidData

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# So many records that do not fit, more than half of those read, and the dialect is another one.
_SURELY_OTHER = 100
# Excel's way of naming the separator in a line of its own.
_NAMED = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How cells are separated and quoted. note: what is unusual in it, for people."""

    separator: str
    quote: str | None = '"'
    escape: str | None = None
    spaces: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What a dialect makes of a text. fault: why it does not fit; None if it does.

    ragged: records of more or fewer cells than the header, by number, with what is wrong; `records` has none of their
    cells. None where the text broke off at the fault.
    """

    header: list[str]
    records: list[list[str]]
    fault: str | None = None
    ragged: Mapping[int, str] | None = None


def read_separated(path: Path, decoded: Decoded, *, separator: str) -> DataFile:
    """Return the rows of `decoded`.

    separator: what the file's ending says; taken unless another one fits the whole file and this one does not.

    Records of other lengths than the header are listed as unreadable where most others fit.

    Raises InvalidData naming row and line of what does not fit.
    """
    text = decoded.text
    if not text.strip():
        return DataFile(())
    usual = separator
    if named := _NAMED.match(text):
        separator, text = named[1], text[named.end() :]
    dialect, parsed = _fitting(text, separator)
    ragged = parsed.ragged or {}
    if parsed.fault is not None and (not ragged or 2 * len(ragged) > len(parsed.records)):
        raise InvalidData(f"{path}{parsed.fault}")
    notes = []
    records = parsed.records
    if _are_spaced([parsed.header, *records]):
        records = [[cell.removeprefix(" ") for cell in cells] for cells in records]
        notes.append(Note(str(path), "separator", "a space follows each separator; it was taken off"))
    read = rows_of_table(parsed.header, records, path)
    if dialect.separator != usual:
        name = _SEPARATORS.get(dialect.separator, repr(dialect.separator))
        notes.append(Note(str(path), "separator", f"the cells are separated by {name}"))
    if dialect.note:
        notes.append(Note(str(path), "separator", dialect.note))
    unreadable = (Unreadable(f"{path}, row {number}", f"{path}{fault}") for number, fault in ragged.items())
    return DataFile(read.rows, (*notes, *read.notes), tuple(unreadable))


def _fitting(text: str, usual: str) -> tuple[_Dialect, _Parsed]:
    """Return the first dialect in which every record has as many cells as the header, and the records.

    If none has, the one with the most headers, whose fault is told.
    """
    tried = []
    for dialect in _dialects(text, usual):
        parsed = _parsed(text, dialect)
        if parsed.fault is None and (len(parsed.header) > 1 or not _has_other_separator(parsed.header, usual)):
            return dialect, parsed
        tried.append((dialect, parsed))
    # Only quotes that are as usual, and the usual separator first: the message is about what a reader would expect.
    plain = [one for one in tried if one[0].quote == '"' and one[0].escape is None and not one[0].spaces]
    return max(plain, key=lambda one: len(one[1].header))


def _dialects(text: str, usual: str) -> Iterator[_Dialect]:
    first = text.split("\n", 1)[0]
    separators = [usual, *(other for other in _SEPARATORS if other != usual and other in first)]
    yield from (_Dialect(separator) for separator in separators)
    for separator in separators:
        if f'{separator} "' in text:
            yield _Dialect(separator, spaces=True, note="spaces stand before quoted cells")
        if '\\"' in text:
            yield _Dialect(separator, escape="\\", note='quotes inside cells are written \\"')
        if first.lstrip().startswith("'"):
            yield _Dialect(separator, quote="'", note="cells are quoted by '")
        if separator == "\t":
            yield _Dialect(separator, quote=None, note="quotes were read as they stand: not all of them are closed")


def _are_spaced(records: Sequence[Sequence[str]]) -> bool:
    """Tell whether every cell but the first of each record begins with one space: it belongs to the separator."""
    later = [cell for cells in records for cell in cells[1:] if cell]
    return bool(later) and all(cell.startswith(" ") for cell in later)


def _has_other_separator(header: Sequence[str], usual: str) -> bool:
    return any(other in name for name in header for other in _SEPARATORS if other != usual)


def _parsed(text: str, dialect: _Dialect) -> _Parsed:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.separator,
        quotechar=dialect.quote,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape,
        doublequote=dialect.escape is None,
        skipinitialspace=dialect.spaces,
        strict=True,
    )
    header: list[str] = []
    records: list[list[str]] = []
    ragged: dict[int, str] = {}
    # A text may be longer than the 131,072 characters that the module allows for a cell.
    limit = csv.field_size_limit(max(len(text) + 1, 131_072))
    try:
        header = next((cells for cells in reader if any(cell.strip() for cell in cells)), [])
        for number, cells in enumerate(reader, start=1):
            records.append(cells)
            if len(header) > 1 and len(cells) == len(header) + 1 and not cells[-1]:
                cells.pop()  # a separator at the line's end, after the last cell
            if cells and len(cells) != len(header):
                ragged[number] = _ragged(number, reader.line_num, cells, header, dialect)
                records[-1] = []
                if len(ragged) > _SURELY_OTHER and 2 * len(ragged) > number:
                    return _Parsed(header, records, next(iter(ragged.values())))
    except csv.Error as error:
        fault = f", row {len(records) + 1} (line {reader.line_num}): {error}; "
        return _Parsed(header, records, f'{fault}close every quote, and double a quote inside a quoted cell ("")')
    finally:
        csv.field_size_limit(limit)
    return _Parsed(header, records, next(iter(ragged.values()), None), ragged)


def _ragged(number: int, line: int, cells: Sequence[str], header: Sequence[str], dialect: _Dialect) -> str:
    name = _SEPARATORS.get(dialect.separator, repr(dialect.separator))
    return (
        f", row {number} (line {line}): {len(cells)} cells under {len(header)} headers, as separated by {name}; "
        "put quotes around a cell that holds the separator or a line end"
    )
