"""Rows of JSON, JSONL, CSV, TSV and Parquet files, each with the place it came from."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from harness.data.row import DataFile, Note, Row
from harness.errors import InvalidData, MissingPackage

__all__ = ["DataFile", "Note", "Row", "read_file", "read_rows"]


def read_rows(path: str | Path) -> tuple[Row, ...]:
    """Return every row of the file at `path`, whose ending says what it holds.

    Text is UTF-8, with or without a byte order mark, with any line ends. Blank lines are passed over but counted.

    Raises InvalidData naming file, row and position where the file is missing, empty or malformed.
    """
    return read_file(path).rows


def read_file(path: str | Path) -> DataFile:
    """Return what `read_rows` does, with the notes on how it was read.

    Raises InvalidData as `read_rows` does.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidData(f"{path}: the ending {path.suffix!r} is unknown; use one of {', '.join(_READERS)}")
    if not path.is_file():
        raise InvalidData(f"{path}: no such file; paths are taken from the folder {Path.cwd()}")
    rows = tuple(reader(path))
    if not rows:
        raise InvalidData(f"{path}: the file has no rows; write at least one")
    return DataFile(rows)


def _jsonl(path: Path) -> Iterator[Row]:
    # str.splitlines would also cut at U+2028 and others, which JSON allows inside a string.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            place = f"{path}, row {number}"
            yield Row(str(path), number, _object(_parsed(line, place, "correct the line or take it out"), place))


def _json(path: Path) -> Iterator[Row]:
    text = _text(path)
    if not text.strip():
        return
    values = _parsed(text, str(path), 'one list of rows is expected, such as [{"prompt": ..., "completion": ...}]')
    if not isinstance(values, list):
        keys = f" with the keys {', '.join(map(repr, values))}" if isinstance(values, dict) else ""
        raise InvalidData(f"{path}: holds {_kind(values)}{keys}, not a list of rows; put the rows in [ ]")
    for number, value in enumerate(values, start=1):
        yield Row(str(path), number, _object(value, f"{path}, row {number}"))


def _parsed(text: str, place: str, remedy: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_repeated_keys)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and place.endswith(".json"):
            remedy = "if each line is a row of its own, name the file .jsonl"
        position = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        near = text[max(0, error.pos - 20) : error.pos + 20].strip()
        raise InvalidData(f"{place}, {position}: not JSON: {error.msg}, near {near!r}; {remedy}") from None
    except _NotJson as error:
        raise InvalidData(f"{place}: {error}; {remedy}") from None
    except RecursionError:
        raise InvalidData(f"{place}: nested too deeply to read; {remedy}") from None


class _NotJson(ValueError):
    """What Python's parser accepts and JSON does not mean."""


def _no_constant(name: str) -> NoReturn:
    raise _NotJson(f"{name} is not a JSON value, use null")


def _no_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _NotJson(f"the field {repeated!r} stands twice in one object")
    return values


def _object(value: object, place: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidData(f'{place}: {_kind(value)}, not an object; write rows as {{"field": value, ...}}')
    return value


def _csv(path: Path) -> Iterator[Row]:
    return _separated(path, delimiter=",")


def _tsv(path: Path) -> Iterator[Row]:
    return _separated(path, delimiter="\t")


def _separated(path: Path, *, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        header = _header(next(reader, []), path)
        for number, cells in enumerate(reader, start=1):
            if not cells:
                continue
            if len(cells) != len(header):
                raise InvalidData(
                    f"{path}, row {number} (line {reader.line_num}): {len(cells)} cells under {len(header)} headers; "
                    "put quotes around a cell that holds the separator or a line end"
                )
            yield Row(str(path), number, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise InvalidData(
            f"{path}, row {number + 1} (line {reader.line_num}): {error}; "
            'close every quote, double a quote inside a quoted cell (""), and move very long texts to .jsonl'
        ) from None


def _header(names: list[str], path: Path) -> list[str]:
    header = [name.strip() for name in names]
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise InvalidData(f"{path}: the header {repeated[0]!r} stands more than once; give every column its own name")
    if header and "" in header:
        raise InvalidData(f"{path}: column {header.index('') + 1} has no header; name it in the first line")
    return header


def _parquet(path: Path) -> Iterator[Row]:
    try:
        # Imported here: reading a JSON file, or `import harness`, should not cost pyarrow's import.
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingPackage(f"{path}: Parquet files need pyarrow; pip install pyarrow") from None
    try:
        values = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise InvalidData(f"{path}: not a readable Parquet file: {error}; write it again or use .jsonl") from None
    for number, value in enumerate(values, start=1):
        yield Row(str(path), number, value)


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidData(f"{path}: written as UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidData(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} at {error.start:,} is not UTF-8; "
            "save the file as UTF-8"
        ) from None


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
