"""Rows of CSV and TSV files, with the separator and the quotes that they really have.

Rows of a table: a header, and records of as many cells under it.

Rows of Excel files, through openpyxl.
"""

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from harness.data.files.bytes import check_readable
from harness.data.files.encodings import Decoded
from harness.data.files.row import DataFile, Note, Row, Unreadable, listed
from harness.errors import InvalidData, MissingPackage

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

    Raises:
        InvalidData: If the header repeats or lacks a name, or looks like a row.
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
    """What a dialect makes of a text.

    Attributes:
        header: The names of the columns.
        records: The cells of each record.
        fault: Why it does not fit; None if it does.
        ragged: Records of more or fewer cells than the header, by number, with what is wrong; `records` has none of
            their cells. None if the text broke off at the fault.
    """

    header: list[str]
    records: list[list[str]]
    fault: str | None = None
    ragged: Mapping[int, str] | None = None


def read_separated(path: Path, decoded: Decoded, *, separator: str) -> DataFile:
    """Return the rows of `decoded`.

    Records of other lengths than the header are listed as unreadable if most others fit.

    Args:
        path: The file.
        decoded: Its text.
        separator: What the file's ending says; taken unless another one fits the whole file and this one does not.

    Raises:
        InvalidData: If a row does not fit; the message names row and line.
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
        others = any(other in name for name in parsed.header for other in _SEPARATORS if other != usual)
        if parsed.fault is None and (len(parsed.header) > 1 or not others):
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


def read_excel(path: Path) -> DataFile:
    """Return the rows of the one sheet of the file at `path` that has any; its first row is the header.

    Formulas give the values that were stored with them.

    Raises:
        InvalidData: If the file is damaged, locked, or has several sheets with rows.
        MissingPackage: If openpyxl is absent.
    """
    check_readable(path)
    try:
        # Imported here: only Excel files need it, and it is an extra.
        import openpyxl  # noqa: F401
    except ImportError:
        raise MissingPackage(f"{path}: Excel files need openpyxl; pip install openpyxl, or save it as CSV") from None
    sheets = _sheets(path, values=True)
    if any(cell is None for records in sheets.values() for cells in records for cell in cells):
        unknown = _filled_cells(_sheets(path, values=False)) - _filled_cells(sheets)
        if unknown:
            raise InvalidData(
                f"{path}: {unknown:,} cells have formulas without a stored value; open it in Excel and save it, or "
                "save it as CSV"
            )
    filled = {title: records for title, records in sheets.items() if records}
    if len(filled) > 1:
        raise InvalidData(
            f"{path}: has rows in the sheets {listed(filled)}; save the one that is meant to its own file"
        )
    if not filled:
        return DataFile(())
    title, (header, *records) = next(iter(filled.items()))
    read = rows_of_table(header, records, path)
    notes = (Note(str(path), "place", f"the rows are those of the sheet {title!r}"),) if len(sheets) > 1 else ()
    return DataFile(read.rows, (*notes, *read.notes))


def _sheets(path: Path, *, values: bool) -> dict[str, list[list[object]]]:
    """Return the cells of each sheet; of formulas the values that were stored, or else the formulas."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=values)
        try:
            return {sheet.title: _records(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
        finally:
            book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError, SyntaxError, AttributeError) as error:
        raise InvalidData(
            f"{path}: not a readable Excel file: {error}; take off its password, or save it again as .xlsx or CSV"
        ) from None


def _filled_cells(sheets: Mapping[str, list[list[object]]]) -> int:
    return sum(cell is not None for records in sheets.values() for cells in records for cell in cells)


def _records(rows: object) -> list[list[object]]:
    """Return the cells of a sheet, from its first row with any, without the empty columns at its right."""
    records = [[_plain(cell) for cell in cells] for cells in rows]  # type: ignore[attr-defined]
    while records and not any(cell is not None for cell in records[0]):
        del records[0]
    width = max(
        (place for cells in records for place, cell in enumerate(cells, start=1) if cell is not None), default=0
    )
    return [(cells + [None] * width)[:width] for cells in records]


def _plain(cell: object) -> object:
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    return None if isinstance(cell, str) and not cell.strip() else cell
