"""Rows of Parquet and Arrow files: columns with types become values that JSON could hold."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from harness.data.files.read import read_file, read_rows
from harness.errors import InvalidData


def test_every_type_becomes_a_value_that_json_holds(tmp_path: Path) -> None:
    columns = {
        "time": (pyarrow.array([datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)]), "2024-01-02T03:04:05+00:00"),
        "day": (pyarrow.array([date(2024, 1, 2)]), "2024-01-02"),
        "span": (pyarrow.array([timedelta(seconds=3)]), "0:00:03"),
        "price": (pyarrow.array([Decimal("12.50")]), "12.50"),
        "count": (pyarrow.array([Decimal("3")]), 3),
        "text": (pyarrow.array([b"caf\xc3\xa9"]), "café"),
        "map": (
            pyarrow.array([[("k", 1), ("l", 2)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            {"k": 1, "l": 2},
        ),
        "coded": (pyarrow.array(["x"]).dictionary_encode(), "x"),
        "turns": (pyarrow.array([[{"role": "user", "content": "hi"}]]), [{"role": "user", "content": "hi"}]),
        "missing": (pyarrow.array([float("nan")]), None),
        "large": (pyarrow.array([2**63 + 5], pyarrow.uint64()), 2**63 + 5),
        "nothing": (pyarrow.nulls(1), None),
    }
    table = pyarrow.table({name: column for name, (column, _) in columns.items()})
    parquet.write_table(table, tmp_path / "rows.parquet")

    read = read_file(tmp_path / "rows.parquet")

    assert [row.values for row in read.rows] == [{name: value for name, (_, value) in columns.items()}]
    assert read.notes == ()


def test_bytes_of_pictures_are_null_and_counted(tmp_path: Path) -> None:
    picture = b"\x89PNG\x00\xff"
    values = [{"text": "a", "image": {"bytes": picture, "path": "a.png"}, "raw": picture}]
    parquet.write_table(pyarrow.Table.from_pylist(values), tmp_path / "rows.parquet")

    read = read_file(tmp_path / "rows.parquet")

    assert [row.values for row in read.rows] == [{"text": "a", "image": {"bytes": None, "path": "a.png"}, "raw": None}]
    assert [(note.kind, note.count) for note in read.notes] == [("left_out", 1), ("left_out", 1)]


def test_class_names_in_the_metadata_are_beside_the_numbers(tmp_path: Path) -> None:
    features = {
        "label": {"names": ["bad", "good"], "_type": "ClassLabel"},
        "tags": {"feature": {"names": ["x", "y"], "_type": "ClassLabel"}, "_type": "List"},
        "more": [{"names": ["p", "q"], "_type": "ClassLabel"}],
        "text": {"dtype": "string", "_type": "Value"},
    }
    table = pyarrow.table({"text": ["a"], "label": [1], "tags": [[0, 1]], "more": [[1]]})
    kept = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(kept, tmp_path / "named.parquet")
    parquet.write_table(table.replace_schema_metadata({"huggingface": "{"}), tmp_path / "damaged.parquet")

    (named,), (damaged,) = read_rows(tmp_path / "named.parquet"), read_rows(tmp_path / "damaged.parquet")

    assert named.label_names == {"label": ("bad", "good"), "tags": ("x", "y"), "more": ("p", "q")}
    assert named.values["label"] == 1
    assert damaged.label_names == {}


def test_a_number_column_with_gaps_keeps_whole_numbers(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"label": [1.0, None, 0.0]}), tmp_path / "rows.parquet")

    values = [row.values["label"] for row in read_rows(tmp_path / "rows.parquet")]

    assert (values, [type(value) for value in values]) == ([1, None, 0], [int, type(None), int])


def test_an_arrow_file_and_stream_are_read(tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["a", "b"]})
    for name, open_writer in (("file.arrow", pyarrow.ipc.new_file), ("stream.arrow", pyarrow.ipc.new_stream)):
        with pyarrow.OSFile(str(tmp_path / name), "wb") as sink, open_writer(sink, table.schema) as writer:
            writer.write_table(table)

        assert [row.values for row in read_rows(tmp_path / name)] == [{"text": "a"}, {"text": "b"}]


def test_a_damaged_file_and_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    double = pyarrow.table([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    parquet.write_table(double, tmp_path / "double.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "double.parquet").read_bytes()[:-20])

    with pytest.raises(InvalidData, match="has two columns 'a'; give every column its own name"):
        read_rows(tmp_path / "double.parquet")
    with pytest.raises(InvalidData, match=r"cut\.parquet: not a readable Parquet file: .*; write or download it again"):
        read_rows(tmp_path / "cut.parquet")
