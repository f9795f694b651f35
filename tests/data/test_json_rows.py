"""Rows of JSON and JSONL: shapes that are read, shapes that are refused, and what to do about each."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.files.read import read_file, read_rows
from harness.errors import InvalidData

_ROWS = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]
_LINES = "".join(f"{json.dumps(row)}\n" for row in _ROWS)
_QUESTION = {"id": "1", "question": "Q?", "answers": [{"text": "A", "answer_start": 3}]}
_SQUAD = {"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": "C", "qas": [_QUESTION]}]}]}


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (_ROWS, _ROWS),
        ({"version": 2, "data": _ROWS}, _ROWS),
        ({"rows": [{"row_idx": 0, "row": _ROWS[0]}], "features": [{"name": "prompt"}]}, _ROWS[:1]),
        ({"tickets": _ROWS}, _ROWS),
        ({"x": _ROWS[0], "y": {"id": "own", **_ROWS[1]}}, [{"id": "x", **_ROWS[0]}, {"id": "own", **_ROWS[1]}]),
        ({"prompt": ["a", "c"], "completion": ["b", "d"]}, _ROWS),
        ({"prompt": {"0": "a", "1": "c"}, "completion": {"0": "b", "1": "d"}}, _ROWS),
        ({"columns": ["prompt", "completion"], "index": [0, 1], "data": [["a", "b"], ["c", "d"]]}, _ROWS),
        (
            _SQUAD,
            [
                {"title": "T", "context": "C", "id": "1", "question": "Q?"}
                | {"answers": {"text": ["A"], "answer_start": [3]}}
            ],
        ),
    ],
)
def test_rows_are_found_in_the_shapes_that_can_mean_nothing_else(tmp_path: Path, value: object, rows: object) -> None:
    read = read_file(written(tmp_path, "rows.json", json.dumps(value)))

    assert [row.values for row in read.rows] == rows
    assert [note.kind for note in read.notes] == ([] if value is _ROWS else ["place"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (_ROWS[0], "if it is one single row, put it in [ ]"),
        ({"messages": [{"role": "user", "content": "x"}]}, "if it is one single row, put it in [ ]"),
        ({"prompt": "x", "tools": [{"name": "f"}], "completion": "y"}, "rows seem to be under 'tools'"),
        (
            {"train": _ROWS, "test": _ROWS},
            "holds several splits, under 'train', 'test'; write each to a file of its own",
        ),
        ({"result": {"inner": {"rows": _ROWS}}}, "rows seem to be under 'result.inner.rows'"),
        ({"a": _ROWS, "b": _ROWS}, "rows seem to be under 'a', 'b'"),
        ({f"k{number}": number for number in range(1000)}, "'k6', 'k7' and 992 more, not a list of rows"),
        ({f"k{number}": [{"a": 1}] for number in range(1000)}, "'k6', 'k7' and 992 more: write that list"),
        (5, "holds one plain value, not rows"),
        (["a"], "row 1: a text, not an object"),
    ],
)
def test_another_shape_is_refused_with_where_rows_seem_to_be(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_rows(written(tmp_path, "rows.json", json.dumps(value)))

    assert message in str(caught.value)
    assert "k8" not in str(caught.value)


def test_a_list_in_a_jsonl_is_read_and_said(tmp_path: Path) -> None:
    for indent in (None, 1):
        read = read_file(written(tmp_path, "rows.jsonl", json.dumps(_ROWS, indent=indent)))

        assert [row.values for row in read.rows] == _ROWS
        assert [note.kind for note in read.notes] == ["read_as"]


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        ("rows.jsonl", json.dumps(_ROWS, indent=1)[:-3], "the file was cut off: write or download it again"),
        ("rows.jsonl", _LINES[:-8], "the last line is cut off: write the file again, or take the line out"),
        ("rows.jsonl", f"{_LINES}{{oops\n{_LINES}", "correct the line or take it out"),
        ("rows.jsonl", "\n".join(json.dumps(row, indent=1) for row in _ROWS), "with: jq -c . FILE"),
        ("rows.jsonl", json.dumps({"data": _ROWS}, indent=1), "is one JSON value over several lines: name it .json"),
        (
            "rows.jsonl",
            '{"a": 1},\n{"a": 2},\n',
            "take the comma off the line's end: in a .jsonl each line stands alone",
        ),
        ("rows.jsonl", "{'a': 1}\n", "as json.dumps does; this is Python's own way of writing them"),
        ("rows.json", '[{"a": 1},]', "correct the file there"),
        ("rows.json", '[{"a": NaN}]', "NaN is not a JSON value, use null; correct the file"),
        (
            "rows.jsonl",
            '{"a": ' + "[" * 600 + '"\\ud800"' + "]" * 600 + "}",
            "nested too deeply to read; write it flatter",
        ),
        ("rows.jsonl", "[1]\n[2]\n", 'write rows as {"field": value, ...}'),
        ("rows.json", _LINES, "if each line is a row of its own, name the file .jsonl"),
        ("rows.json", "\n".join(json.dumps(row, indent=1) for row in _ROWS), "with: jq -s . FILE"),
        ("rows.json", json.dumps(_ROWS)[:-5], "the file was cut off: write or download it again"),
    ],
)
def test_the_remedy_is_the_one_that_helps(tmp_path: Path, name: str, text: str, remedy: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_rows(written(tmp_path, name, text))

    assert str(caught.value).endswith(remedy)


def test_lines_that_end_as_on_old_machines_are_rows(tmp_path: Path) -> None:
    assert [row.values for row in read_rows(written(tmp_path, "rows.jsonl", '{"a": 1}\r{"a": 2}\r'))] == [
        {"a": 1},
        {"a": 2},
    ]


def test_half_an_emoji_is_replaced_and_counted(tmp_path: Path) -> None:
    text = '{"p": "hi \\ud83d", "c": [{"\\ude00": "\\ud83d\\ude00"}]}\n{"p": "ok", "c": "\\ud83d\\ude00"}\n'

    read = read_file(written(tmp_path, "rows.jsonl", text))

    assert [row.values for row in read.rows] == [
        {"p": "hi \ufffd", "c": [{"\ufffd": "😀"}]},
        {"p": "ok", "c": "😀"},
    ]
    assert [(note.kind, note.count) for note in read.notes] == [("replaced", 1)]


@given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=[])), max_size=4))
def test_no_text_keeps_half_a_character(tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]) -> None:
    path = written(tmp_path_factory.mktemp("json"), "rows.jsonl", json.dumps(values))

    assert json.dumps(dict(read_rows(path)[0].values), ensure_ascii=False).encode()


def test_whole_numbers_lose_the_point_that_a_gap_gave_them(tmp_path: Path) -> None:
    rows = [{"a": 1.0, "b": 1.0, "c": True}, {"a": None, "b": 2.5, "c": 1.0}, {"a": 3, "b": 3.0, "c": None}]

    read = read_file(written(tmp_path, "rows.json", json.dumps(rows)))

    assert json.dumps([dict(row.values) for row in read.rows]) == json.dumps(
        [{"a": 1, "b": 1.0, "c": True}, {"a": None, "b": 2.5, "c": 1.0}, {"a": 3, "b": 3.0, "c": None}]
    )
    assert [note.text for note in read.notes] == ["field 'a' has whole numbers written as 3.0, which were read as 3"]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_value_of_a_list_that_is_no_row_is_left_out_and_counted_where_that_is_asked(
    tmp_path: Path, name: str
) -> None:
    path = written(tmp_path, name, json.dumps([_ROWS[0], "no row", _ROWS[1], None], indent=1))

    read = read_file(path, keep_unreadable=True)

    assert [(row.number, row.values) for row in read.rows] == [(1, _ROWS[0]), (3, _ROWS[1])]
    assert [(one.where, one.reason.partition("; ")[0]) for one in read.unreadable] == [
        (f"{path}, row 2", f"{path}, row 2: a text, not an object"),
        (f"{path}, row 4", f"{path}, row 4: null, not an object"),
    ]
    with pytest.raises(InvalidData, match="row 2: a text, not an object"):
        read_file(path)
