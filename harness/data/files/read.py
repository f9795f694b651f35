"""Rows of data files and folders, each with the place it came from: which reader reads which file."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.data.files.arrow import read_arrow, read_parquet
from harness.data.files.bytes import check_file_name, check_is_text, read_bytes, unpacked_name
from harness.data.files.encodings import Decoded, decode
from harness.data.files.folders import read_folder
from harness.data.files.inspect_logs import read_eval_log
from harness.data.files.json_rows import read_json, read_jsonl
from harness.data.files.promptfoo import read_yaml
from harness.data.files.row import DataFile, Note, Row
from harness.data.files.spreadsheets import read_excel, read_separated
from harness.data.files.whole_numbers import with_whole_numbers
from harness.errors import InvalidData


def read_rows(path: str | Path) -> tuple[Row, ...]:
    """Return every row of the file or folder at `path`.

    A file's ending says what it holds: JSON, JSONL, CSV, TSV, YAML (each also packed, .gz or .zst), Parquet, Arrow,
    Excel, or an Inspect log. A folder holds the shards of one data set, or text files, each a row.

    Raises:
        InvalidData: If the file is missing, empty or malformed; the message names file, row and position.
    """
    return read_file(path).rows


def read_file(path: str | Path, *, keep_unreadable: bool = False, one_of_several: bool = False) -> DataFile:
    """Return what `read_rows` does, with notes on what reading decided, changed or left out.

    Args:
        path: The file or folder.
        keep_unreadable: Lines of a JSONL file that are no rows are listed among `unreadable`, and stop nothing.
        one_of_several: Numbers stay as they are written, for `with_whole_numbers` to look at all of the files together.

    Raises:
        InvalidData: As `read_rows` does.
    """
    path = Path(path)
    check_file_name(path)
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidData(
            f"{str(path)[:200]!r}: cannot be read: {reason}; check the path and its permissions"
        ) from None
    try:
        read = read_folder(path, endings=_ENDINGS, read=_read_whole) if is_folder else _read_whole(path)
    except RecursionError:
        raise InvalidData(f"{path}: a row is nested too deeply to read; write it flatter") from None
    if read.unreadable and not keep_unreadable:
        raise InvalidData(read.unreadable[0].reason)
    return read if one_of_several else with_whole_numbers([read])[0]


def _read_whole(path: Path) -> DataFile:
    """Return the rows of one file."""
    ending = Path(unpacked_name(path)).suffix
    if ending in _OTHER_READERS:
        read = _OTHER_READERS[ending](path)
    elif ending in _TEXT_READERS:
        read = _read_text(path, _TEXT_READERS[ending])
    else:
        raise InvalidData(
            f"{path}: the ending {ending!r} is unknown; use one of {', '.join(_ENDINGS)}{_hint(path, ending)}"
        )
    if not read.rows and not read.unreadable:
        raise InvalidData(f"{path}: the file has no rows; write at least one")
    return read


def _hint(path: Path, ending: str) -> str:
    """Return what else may be meant by a name whose ending is not known."""
    hints = {
        ".txt": "; a folder of .txt files can be given, each file a row",
        ".xls": "; save the old Excel file as .xlsx",
        ".zip": "; unpack it first",
        ".tar": "; unpack it first",
    }
    if ending in hints or path.exists():
        return hints.get(ending, "")
    return "; no file is there: a data set of the hub is given as hub=" if len(path.parts) == 2 else ""


def _read_text(path: Path, reader: Callable[[Path, Decoded], DataFile]) -> DataFile:
    content = read_bytes(path)
    check_is_text(content, path)
    decoded = decode(content, path)
    read = reader(path, decoded)
    notes = []
    if not decoded.sure or decoded.encoding != "UTF-8":
        text = f"was read as {decoded.encoding}" + ("" if decoded.sure else f", with {decoded.example!r} in it")
        notes.append(Note(str(path), "encoding", text))
    if decoded.marks:
        text = f"{decoded.marks:,} lines began with a byte order mark, which was taken off (were files joined?)"
        notes.append(Note(str(path), "replaced", text, decoded.marks))
    return replace(read, notes=(*notes, *read.notes))


_TEXT_READERS: Mapping[str, Callable[[Path, Decoded], DataFile]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": partial(read_separated, separator=","),
    ".tsv": partial(read_separated, separator="\t"),
    ".yaml": partial(read_yaml, read=read_file),
    ".yml": partial(read_yaml, read=read_file),
}
_OTHER_READERS: Mapping[str, Callable[[Path], DataFile]] = {
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".xlsx": read_excel,
    ".xlsm": read_excel,
    ".eval": read_eval_log,
}
_ENDINGS = (
    ".jsonl",
    ".json",
    ".csv",
    ".tsv",
    ".parquet",
    ".xlsx",
    ".yaml",
    ".eval",
    ".ndjson",
    ".yml",
    ".arrow",
    ".xlsm",
)
