"""A file that cannot be had is one line; a packed one is unpacked."""

import gzip
import os
from pathlib import Path

import pyarrow
import pytest

from harness.data.files.read import read_rows
from harness.errors import InvalidData

_LINES = b'{"a": 1}\n{"a": 2}\n'
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"


def packed(content: bytes) -> bytes:
    """Pack without the time, which would make the names of the tests differ from one test process to the next."""
    return gzip.compress(content, mtime=0)


def zstd(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl.gz", packed(_LINES)),
        ("rows.jsonl.gz", packed(_LINES[:9]) + packed(_LINES[9:])),
        ("rows.jsonl.zst", zstd(_LINES)),
        ("Rows.JSONL.GZ", packed(_LINES)),
        ("rows.json.gz", packed(b'[{"a": 1}, {"a": 2}]')),
        ("rows.jsonl", packed(_LINES)),
    ],
)
def test_a_packed_file_is_unpacked(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    assert [row.values for row in read_rows(tmp_path / name)] == [{"a": 1}, {"a": 2}]


def test_a_packed_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv.zst").write_bytes(zstd(b"text,label\na,b\n"))
    (tmp_path / "rows.tsv.gz").write_bytes(packed(b"text\tlabel\na\tb\n"))

    for name in ("rows.csv.zst", "rows.tsv.gz"):
        assert [row.values for row in read_rows(tmp_path / name)] == [{"text": "a", "label": "b"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl.gz", packed(_LINES)[:-9], "the gzip data end too early: the file was cut off"),
        ("rows.jsonl.gz", packed(_LINES)[:-8] + b"12345678", "damaged gzip data"),
        ("rows.jsonl.gz", _LINES, "is not .gz data; take .gz off its name"),
        ("rows.jsonl.zst", zstd(_LINES * 1000)[:-5], "damaged or cut Zstandard data"),
        ("rows.jsonl.gz", packed(b""), "the file has no rows"),
        ("rows.jsonl", _POINTER, "is a Git LFS pointer, and the data are not here; run git lfs pull in its folder"),
        ("rows.parquet", _POINTER, "run git lfs pull"),
        ("rows.xlsx", _POINTER, "run git lfs pull"),
        ("rows.eval", _POINTER, "run git lfs pull"),
    ],
)
def test_what_cannot_be_unpacked_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(InvalidData) as caught:
        read_rows(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "loop.jsonl").symlink_to("back.jsonl")
    (tmp_path / "back.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "dangling.jsonl").symlink_to("gone.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    cases = {
        "loop.jsonl": "is a link to back.jsonl, which leads to no file",
        "dangling.jsonl": "is a link to gone.jsonl, which leads to no file",
        "pipe.jsonl": "is no regular file but a device, pipe or socket",
        "missing.jsonl": "no such file",
        "n" * 300 + ".jsonl": "cannot be read: File name too long; check the path",
        "a\0b.jsonl": "",
    }
    for name, message in cases.items():
        with pytest.raises(InvalidData) as caught:
            read_rows(tmp_path / name)
        assert message in str(caught.value)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(_LINES)
    fstat = os.fstat

    def after_more_is_written(descriptor: int) -> os.stat_result:
        state = fstat(descriptor)
        path.write_bytes(path.read_bytes() + _LINES)
        return state

    monkeypatch.setattr("harness.data.files.bytes.os.fstat", after_more_is_written)

    with pytest.raises(InvalidData, match="changed while it was read; wait until it is written, or read a copy"):
        read_rows(path)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "folder", "folder/rows.jsonl"])
def test_what_may_not_be_read_says_so(tmp_path: Path, name: str) -> None:
    for place in ("rows.jsonl", "rows.parquet", "folder/rows.jsonl"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(_LINES)
    for closed in ("rows.jsonl", "rows.parquet", "folder"):
        (tmp_path / closed).chmod(0)
    user = os.geteuid()
    if user == 0:
        # Root may read everything, so it reads as nobody; who may not even look into the folder of the test.
        try:
            os.seteuid(65534)
        except OSError:
            pytest.skip("root may read everything, and cannot become another user here")
    try:
        with pytest.raises(InvalidData, match=r"cannot be (read|listed): Permission denied; check"):
            read_rows(tmp_path / name)
    finally:
        os.seteuid(user)
        (tmp_path / "folder").chmod(0o700)
