"""The bytes of a data file: unpacked if they are compressed, and refused in one line if they cannot be had."""

import gzip
import os
import zlib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from harness.errors import InvalidData, MissingPackage
from harness.types.files import is_lfs_pointer

_Found = TypeVar("_Found")

PACKED = (".gz", ".zst")
# What stands under the ending of a text file by mistake, by its first bytes, and what to do about it.
_NO_TEXT = (
    (b"PK\x03\x04", "a zip archive", "unpack it, or name it .xlsx if it is an Excel file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file", "save it as .xlsx or CSV"),
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"ARROW1", "an Arrow file", "name it .arrow"),
    (b"SQLite format 3\0", "an SQLite database", "write the table to a .csv or .jsonl file"),
    (b"BZh", "bzip2 data", "unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "xz data", "unpack it with unxz"),
    (b"%PDF-", "a PDF document", "write its text to a file"),
    (b"<!doctype html", "a web page", "download the file itself, not the page about it"),
    (b"<html", "a web page", "download the file itself, not the page about it"),
)
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_AGAIN = "copy or download it again"


def unpacked_name(path: Path) -> str:
    """Return the file's name in small letters without .gz or .zst: "rows.jsonl" of "Rows.jsonl.gz"."""
    name = path.name.lower()
    return next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)


def read_bytes(path: Path) -> bytes:
    """Return the content of the file at `path`, unpacked if it is gzip or Zstandard data, whatever its ending.

    Raises:
        InvalidData: If it is missing, unreadable, cut off, not a regular file, a Git LFS pointer, or changes while it
            is read; the message names it.
    """
    content = _stored_bytes(path)
    _refuse_pointer(content, path)
    if content.startswith(_GZIP):
        return _gunzipped(content, path)
    if content.startswith(_ZSTD):
        return _zstd_unpacked(content, path)
    if content and path.suffix.lower() in PACKED:
        raise InvalidData(f"{path}: is not {path.suffix} data; take {path.suffix} off its name, or {_AGAIN}")
    return content


def check_file_name(path: Path) -> None:
    """Refuse a name that is no text: it would stand in the ids of rows."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InvalidData(f"{str(path)!r}: the name is not in UTF-8; rename it") from None


def check_is_text(content: bytes, path: Path) -> None:
    """Refuse the content of another kind of file that stands under the ending of a text file."""
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, kind, remedy in _NO_TEXT:
        if start[: len(mark)].lower() == mark.lower():
            raise InvalidData(f"{path}: is {kind}, not what its ending says; {remedy}")


def check_readable(path: Path) -> None:
    """Raise the InvalidData of `read_bytes` for what can be told without reading all of the file at `path`."""
    _refuse_pointer(_asked(path, lambda stream: stream.read(1024)), path)


def _stored_bytes(path: Path) -> bytes:
    before, content, after = _asked(path, lambda stream: (_state(stream), stream.read(), _state(stream)))
    if before != after or len(content) != after[0]:
        raise InvalidData(f"{path}: changed while it was read; wait until it is written, or read a copy")
    return content


def _state(stream: BufferedReader) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns


def _asked(path: Path, read: Callable[[BufferedReader], _Found]) -> _Found:
    """Return what `read` finds in the file; raises InvalidData where it cannot be had."""
    try:
        if not path.is_file():
            raise InvalidData(_why_no_file(path))
        with path.open("rb") as stream:
            return read(stream)
    except (OSError, ValueError) as error:
        raise InvalidData(f"{path}: cannot be read: {_reason(error)}; check the path and its permissions") from None


def _refuse_pointer(content: bytes, path: Path) -> None:
    if is_lfs_pointer(content):
        raise InvalidData(f"{path}: is a Git LFS pointer, and the data are not here; run git lfs pull in its folder")


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path}: is a folder; give a file"
    if path.exists():
        return f"{path}: is no regular file but a device, pipe or socket; save its content to a file"
    if path.is_symlink():
        return f"{path}: is a link to {os.readlink(path)}, which leads to no file; correct the link or give the file"
    if str(path).startswith(("http:/", "https:/", "s3:/", "hf:/")):
        return f"{path}: is an address, not a file; download it, or give a data set of the hub as hub="
    pattern = "; patterns are not expanded: give the folder, or the files" if set("*?[") & set(path.name) else ""
    return f"{path}: no such file; paths are taken from the folder {Path.cwd()}{pattern}"


def _reason(error: Exception) -> str:
    """Return the system's words without the path, which the message has already."""
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def _gunzipped(content: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(content)
    except EOFError:
        raise InvalidData(f"{path}: the gzip data end too early: the file was cut off; {_AGAIN}") from None
    except (OSError, zlib.error) as error:
        raise InvalidData(f"{path}: damaged gzip data: {error}; {_AGAIN}") from None


def _zstd_unpacked(content: bytes, path: Path) -> bytes:
    try:
        # Imported here: only few files are packed so, and importing pyarrow takes a while.
        import pyarrow
    except ImportError:
        raise MissingPackage(f"{path}: .zst files need pyarrow; pip install pyarrow") from None
    try:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(content), "zstd") as stream:
            return bytes(stream.read())
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidData(f"{path}: damaged or cut Zstandard data: {error}; {_AGAIN}") from None
