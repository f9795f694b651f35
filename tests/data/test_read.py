"""Rows leave a file with their place, and a fault names it."""

import contextlib
import json
import os
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from harness.data.files.read import Row, read_rows
from harness.errors import InvalidData


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_all_kinds_of_file_give_the_same_rows(tmp_path: Path) -> None:
    values = [{"text": 'héllo, "you"\nthere', "label": "greeting"}, {"text": "再见", "label": "farewell"}]
    parquet.write_table(pyarrow.Table.from_pylist(values), tmp_path / "rows.parquet")
    write(tmp_path, "rows.json", json.dumps(values))
    write(tmp_path, "rows.jsonl", "\n".join(json.dumps(value) for value in values))
    write(tmp_path, "rows.csv", 'text,label\n"héllo, ""you""\nthere",greeting\n再见,farewell\n')
    write(tmp_path, "rows.tsv", 'text\tlabel\n"héllo, ""you""\nthere"\tgreeting\n再见\tfarewell\n')

    for ending in ("parquet", "json", "jsonl", "csv", "tsv"):
        path = tmp_path / f"rows.{ending}"
        assert read_rows(path) == (Row(str(path), 1, values[0]), Row(str(path), 2, values[1])), ending


def test_byte_order_mark_carriage_returns_and_blank_lines_are_no_rows_but_count(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl", '\ufeff{"a": 1}\r\n\r\n  \r\n{"a": 2}\r\n')

    assert [(row.number, row.values) for row in read_rows(path)] == [(1, {"a": 1}), (4, {"a": 2})]


def test_a_line_separator_inside_a_json_string_ends_no_row(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl", '{"a": "one\u2028two"}\n')

    assert [row.values for row in read_rows(path)] == [{"a": "one\u2028two"}]


def test_csv_keeps_blank_lines_in_the_count(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", "\ufefftext,label\r\na,1\r\n\r\nb,2\r\n")

    assert [(row.number, row.values) for row in read_rows(path)] == [
        (1, {"text": "a", "label": "1"}),
        (3, {"text": "b", "label": "2"}),
    ]


def test_a_malformed_row_37_is_named_with_its_position_and_remedy(tmp_path: Path) -> None:
    lines = ['{"prompt": "a", "completion": "b"}'] * 36 + ['{"prompt": "a" "completion": "b"}', '{"prompt": "c"}']
    path = write(tmp_path, "train.jsonl", "\n".join(lines))

    with pytest.raises(InvalidData) as caught:
        read_rows(path)

    assert str(caught.value) == (
        f"{path}, row 37, column 16: not JSON: Expecting ',' delimiter, "
        """near '{"prompt": "a" "completion": "b"}'; correct the line or take it out"""
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", "", "the file has no rows"),
        ("rows.json", "", "the file has no rows"),
        ("rows.json", "[]", "the file has no rows"),
        ("rows.csv", "text,label\n", "the file has no rows"),
        ("rows.jsonl", "\n \n\n", "the file has no rows"),
        ("rows.csv", "\n \n\n", "the file has no rows"),
        ("rows.csv", ";", "the file has no rows"),
        ("rows.parquet", "", "the file has no rows"),
        ("rows.json", '{"data": []}', "holds an object with the keys 'data', not a list of rows; put the rows in [ ]"),
        ("rows.json", '{"a": 1}\n{"a": 2}\n', "line 2, column 1: not JSON: Extra data"),
        ("rows.json", '{"a": 1}\n{"a": 2}\n', "if each line is a row of its own, name the file .jsonl"),
        ("rows.json", '[{"a": 1}, 7]', "row 2: a number, not an object"),
        ("rows.jsonl", '{"a": 1}\n[1]\n', "row 2: a list, not an object"),
        ("rows.jsonl", '{"a": NaN}', "row 1: NaN is not a JSON value, use null"),
        ("rows.jsonl", '{"a": 1}\n{"a": 1, "a": 2}', "row 2: the field 'a' stands twice in one object"),
        ("rows.jsonl", "[" * 100_000, "nested too deeply to read"),
        ("rows.jsonl", '{"a":' * 100_000, "row 1: nested too deeply to read"),
        ("rows.jsonl", '{"a": ' + "1" * 5000 + "}", "row 1: a number has too many digits to read, write it as text"),
        ("rows.csv", "text,label,text\na,b,c\n", "the header 'text' stands more than once"),
        ("rows.csv", "text,,label\na,b,c\n", "column 2 has no header"),
        ("rows.csv", "text,label\na,b\nc, d, e\n", "row 2 (line 3): 3 cells under 2 headers"),
        ("rows.csv", 'text,label\na,b\n"c,d\n', "row 2 (line 3): unexpected end of data"),
        ("rows.jsonl", '{"a": "\u0434\u0430"}'.encode("cp1251"), "line 1: byte 0xe4 at 7 is not UTF-8"),
        ("rows.csv", b"text\n\x1b$B$9\n", "is written in ISO-2022-JP; save it as UTF-8"),
        ("rows.parquet", "not parquet", "not a readable Parquet file"),
        ("rows.json", "{}", "holds an empty object, not a list of rows"),
        ("rows.jsonl", '{"a": 1e999}', "row 1: the number 1e999 is too large to read, write it as text"),
        ("rows.csv", b"PK\x03\x04\xff\xff", "is a zip archive, not what its ending says; unpack it"),
        ("rows.csv", b"\xd0\xcf\x11\xe0\xa1\xb1", "is an old Excel file"),
        ("rows.jsonl", "\n<!DOCTYPE html><html></html>", "is a web page, not what its ending says; download the file"),
        ("rows.jsonl", b"PAR1\x15\x04", "is a Parquet file, not what its ending says; name it .parquet"),
        ("rows.txt", "hello", "the ending '.txt' is unknown; use one of .jsonl, .json, .csv, .tsv, .parquet"),
    ],
)
def test_a_fault_names_the_file_and_the_fact(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = write(tmp_path, name, content)

    with pytest.raises(InvalidData) as caught:
        read_rows(path)

    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("data/*.jsonl", r"no such file; .*; patterns are not expanded: give the folder, or the files"),
        (
            "https://example.org/rows.jsonl",
            "is an address, not a file; download it, or give a data set of the hub as hub=",
        ),
        ("owner/name", "no file is there: a data set of the hub is given as hub="),
    ],
)
def test_what_is_no_path_says_what_to_give(path: str, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        read_rows(path)


def test_a_missing_file_names_the_folder_that_paths_are_taken_from() -> None:
    with pytest.raises(InvalidData, match=r"nowhere\.jsonl: no such file; paths are taken from the folder /"):
        read_rows("nowhere.jsonl")


_NAMES = (
    "data rows id eval status version samples paragraphs qas context answers columns train test prompts tests vars "
    "assert type value row row_idx messages role content input target output choices 0 1 x"
)
_FIELDS = st.sampled_from(_NAMES.split())
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    _SCALARS | st.sampled_from(["equals", "{{x}}", "\ud83d", "text", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FIELDS, inner, max_size=5),
    max_leaves=20,
)


@given(_JSON, st.sampled_from(["rows.json", "rows.jsonl", "rows.yaml"]))
def test_any_value_gives_rows_that_can_be_written_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, value: object, name: str
) -> None:
    path = write(tmp_path_factory.mktemp("any"), name, json.dumps(value))
    try:
        rows = read_rows(path)
    except InvalidData as error:
        rows = ()
        assert str(error).startswith(str(path)) and "\n" not in str(error)  # noqa: PT017, PT018

    for row in rows:
        json.dumps(dict(row.values), ensure_ascii=False, default=str).encode()


@given(
    st.binary(max_size=60), st.sampled_from([".csv", ".tsv", ".jsonl", ".yaml", ".parquet", ".arrow", ".eval", ".xlsx"])
)
def test_any_bytes_give_rows_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str) -> None:
    path = write(tmp_path_factory.mktemp("any"), f"rows{ending}", content)

    with contextlib.suppress(InvalidData):
        read_rows(path)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")

    with pytest.raises(InvalidData, match=r"caf\\udce9\.jsonl': the name is not in UTF-8; rename it"):
        read_rows(path)
