"""Rows of Excel files, through openpyxl."""

import zipfile
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path

from harness.data.file_bytes import check_readable
from harness.data.row import DataFile, Note, listed
from harness.data.tables import rows_of_table
from harness.errors import InvalidData, MissingPackage


def read_excel(path: Path) -> DataFile:
    """Return the rows of the one sheet of the file at `path` that has any; its first row is the header.

    Formulas give the values that were stored with them. Raises InvalidData for a file that is damaged, locked, or has
    several sheets with rows, and MissingPackage without openpyxl.
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
