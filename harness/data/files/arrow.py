"""Rows of Parquet and Arrow files and of hub data sets: columns with types, as values that JSON could hold."""

import json
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.files.bytes import check_readable, read_bytes, unpacked_name
from harness.data.files.row import DataFile, Note, Row
from harness.errors import InvalidData, MissingPackage

if TYPE_CHECKING:
    import pyarrow


_INDEX = "__index_level_"


def read_parquet(path: Path) -> DataFile:
    """Return the rows of the Parquet file at `path`; raise InvalidData if it is none, or damaged."""
    return _read(path, "Parquet", _parquet_table)


def read_arrow(path: Path) -> DataFile:
    """Return the rows of an Arrow file, as `save_to_disk` of the package datasets writes them; raise InvalidData if
    damaged."""
    return _read(path, "Arrow", _arrow_table)


def rows_of_arrow(table: "pyarrow.Table", source: str) -> DataFile:
    """Return the rows of `table`, which comes from `source`.

    Times become text, decimals text or whole numbers, maps objects; NaN becomes null. Bytes become text if they are
    text, else null, which is noted.

    Raises:
        InvalidData: If two columns have one name, or a time is out of Python's range.
    """
    names = [name for name in table.column_names if not name.startswith(_INDEX)]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InvalidData(f"{source}: has two columns {repeated!r}; give every column its own name")
    columns, notes = [], []
    for name in names:
        try:
            cells = table.column(name).to_pylist()
        except (ValueError, OverflowError, KeyError) as error:
            raise InvalidData(f"{source}: field {name!r} cannot be read: {error}; write it as text") from None
        plain, lost = _plain_column(cells)
        columns.append(plain)
        if lost:
            text = f"field {name!r} holds bytes in {lost:,} rows (a picture or sound?), which were read as null"
            notes.append(Note(source, "left_out", text, lost))
    label_names = _label_names(table.schema.metadata or {})
    records = zip(*columns, strict=True) if columns else ()
    rows = tuple(
        Row(source, number, dict(zip(names, cells, strict=True)), label_names)
        for number, cells in enumerate(records, start=1)
    )
    return DataFile(rows, tuple(notes))


def _read(path: Path, kind: str, table_of: "Callable[[object], pyarrow.Table]") -> DataFile:
    try:
        # Imported here: reading a JSON file, or `import harness`, should not cost pyarrow's import.
        import pyarrow
    except ImportError:
        raise MissingPackage(f"{path}: {kind} files need pyarrow; pip install pyarrow") from None
    check_readable(path)
    packed = unpacked_name(path) != path.name.lower()
    try:
        if path.stat().st_size == 0:
            return DataFile(())
        table = table_of(pyarrow.BufferReader(read_bytes(path)) if packed else pyarrow.memory_map(str(path)))
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidData(
            f"{path}: not a readable {kind} file: {reason}; write or download it again, or use .jsonl"
        ) from None
    return rows_of_arrow(table, str(path))


def _parquet_table(source: object) -> "pyarrow.Table":
    from pyarrow import parquet

    return parquet.ParquetFile(source).read()


def _arrow_table(source: object) -> "pyarrow.Table":
    """Return the table of an Arrow stream, which `datasets` writes, or of an Arrow file."""
    import pyarrow

    try:
        return pyarrow.ipc.open_file(source).read_all()
    except pyarrow.ArrowInvalid:
        source.seek(0)  # type: ignore[attr-defined]
        return pyarrow.ipc.open_stream(source).read_all()


def _plain_column(cells: list[object]) -> tuple[list[object], int]:
    """Return `cells` as JSON could hold them, and how many rows lost bytes by it."""
    if all(cell is None or isinstance(cell, str | bool | int) for cell in cells):
        return cells, 0
    if all(cell is None or isinstance(cell, bytes) for cell in cells):
        texts = [None if cell is None else _text_in(cell) for cell in cells]  # type: ignore[arg-type]
        lost = sum(text is None and cell is not None for text, cell in zip(texts, cells, strict=True))
        return [None] * len(cells) if lost else list(texts), lost
    plain = [_plain(cell) for cell in cells]
    return plain, sum(_has_bytes(cell) for cell in cells)


def _text_in(content: bytes) -> str | None:
    """Return the text that bytes without a type of their own hold, as some writers store text; None for other bytes."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    is_text = all(character in "\t\n\r" or unicodedata.category(character) != "Cc" for character in set(text))
    return text if is_text else None


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return _plain_list(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent in (0, "") else str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return None if isinstance(value, bytes) else value


def _plain_list(values: Iterable[object]) -> object:
    """Return a list; a map, which Arrow gives as pairs of key and value, becomes an object."""
    items = list(values)
    pairs = [item for item in items if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)]
    if pairs and len(pairs) == len(items):
        return {key: _plain(item) for key, item in pairs}
    return [_plain(item) for item in items]


def _has_bytes(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_bytes(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_bytes(item) for item in value)
    return isinstance(value, bytes)


def _label_names(metadata: Mapping[bytes, bytes]) -> Mapping[str, tuple[str, ...]]:
    """Return the names of classes by field, as the package datasets keeps them beside the columns."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        found = {field: _names_in(feature) for field, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {field: names for field, names in found.items() if names}


def _names_in(feature: object) -> tuple[str, ...]:
    """Return the names of a feature that is a class, or a list of such."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_in(feature[0])
    if not isinstance(feature, Mapping):
        return ()
    if feature.get("_type") == "ClassLabel":
        return tuple(str(name) for name in feature.get("names") or ())
    return _names_in(feature.get("feature"))
