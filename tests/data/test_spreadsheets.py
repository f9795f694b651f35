"""Rows of CSV and TSV as people really write them."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.data.files.encodings import Decoded
from harness.data.files.read import read_file, read_rows
from harness.data.files.spreadsheets import read_separated
from harness.errors import InvalidData


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


@pytest.mark.parametrize(
    ("text", "rows", "notes"),
    [
        ("text;label\nhi, you;a\nyo;b\n", [("hi, you", "a"), ("yo", "b")], ["the cells are separated by semicolons"]),
        ("text;label\nhi;3,5\nyo;4,0\n", [("hi", "3,5"), ("yo", "4,0")], ["the cells are separated by semicolons"]),
        ("text|label\na, b|c\n", [("a, b", "c")], ["the cells are separated by vertical bars"]),
        ("text\tlabel\na, b\tc\n", [("a, b", "c")], ["the cells are separated by tabs"]),
        ("sep=;\ntext;label\na;b\n", [("a", "b")], ["the cells are separated by semicolons"]),
        ('text,label\r\n"a\r\nb",c\r\n', [("a\r\nb", "c")], []),
        ("text,label\ra,b\r", [("a", "b")], []),
        ("'text','label'\n'it, is',1\n", [("it, is", "1")], ["cells are quoted by '"]),
        ('text, "label"\nx, "a, b"\n', [("x", "a, b")], ["spaces stand before quoted cells"]),
        ('text,label\n"say \\"hi, you\\"",a\n', [('say "hi, you"', "a")], ['quotes inside cells are written \\"']),
        ("text, label\na, b\nc, d\n", [("a", "b"), ("c", "d")], ["a space follows each separator; it was taken off"]),
        ("text, label\na, b\nc,d\n", [("a", " b"), ("c", "d")], []),
        ("text,label\na,b,\nc,d\n", [("a", "b"), ("c", "d")], []),
        ("text,label,\na,b,\n", [("a", "b")], []),
        (
            ",text,label\n0,a,b\n1,c,d\n",
            [("a", "b"), ("c", "d")],
            ["column 1 has no header and only counts the rows; it was left out"],
        ),
        ("text,label\n,\na,b\n", [("a", "b")], ["1 rows have only empty cells and were left out"]),
        (f"text,label\n{'x' * 200_000},b\n", [("x" * 200_000, "b")], []),
        ("text,label\na\u2028b,c\n", [("a\u2028b", "c")], []),
        (
            "text,label\na,2.0\nb,\nc,0.0\n",
            [("a", "2"), ("b", ""), ("c", "0")],
            ["field 'label' has whole numbers written as 3.0, which were read as 3"],
        ),
        ("text,label\na,2.0\nb,0.5\n", [("a", "2.0"), ("b", "0.5")], []),
    ],
)
def test_cells_are_told_apart(tmp_path: Path, text: str, rows: list[tuple[str, str]], notes: list[str]) -> None:
    read = read_file(written(tmp_path, "rows.csv", text))

    assert [tuple(row.values.items()) for row in read.rows] == [
        (("text", first), ("label", second)) if "score" not in text else (("text", first), ("score", second))
        for first, second in rows
    ]
    assert [note.text for note in read.notes] == notes


def test_a_tsv_whose_quotes_are_not_closed_is_read_as_it_stands(tmp_path: Path) -> None:
    read = read_file(written(tmp_path, "rows.tsv", 'text\tlabel\n"hello\ta\nsay "hi"\tb\n'))

    assert [row.values for row in read.rows] == [{"text": '"hello', "label": "a"}, {"text": 'say "hi"', "label": "b"}]
    assert [note.kind for note in read.notes] == ["separator"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("good movie,1\nbad movie,0\n", "looks like a row, not like a header: it has the number '1'"),
        ("What is the capital of France?,Paris\nof Spain?,Madrid\n", "looks like a row"),
        ("hello there,greet\nbye,part\nhi,greet\nyo,greet\n", "'greet' stands in 2 rows of its column too"),
        ("text;label\na;b;c\n", "row 1 (line 2): 3 cells under 2 headers, as separated by semicolons"),
        ("text,label\na\n", "row 1 (line 2): 1 cells under 2 headers, as separated by commas"),
        ("text\nhello,\n", "1 headers"),
        ("text\nhello, you\n", "put quotes around a cell that holds the separator"),
        ("text,,label\na,b,c\n", "column 2 has no header"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_rows(written(tmp_path, "rows.csv", text))

    assert message in str(caught.value)


@given(
    st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_the_csv_module_writes_comes_back(rows: list[tuple[str, str]], separator: str, quoting: int) -> None:
    assume(all(any(cell.strip() for cell in row) and row != ("text", "label") for row in rows))
    assume(not any("\r" in cell for row in rows for cell in row))  # the module leaves some of these without quotes
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("text", "label"), *rows])

    read = read_separated(Path("rows.csv"), Decoded(stream.getvalue(), "UTF-8"), separator=",")

    assert [(row.values["text"], row.values["label"]) for row in read.rows] == rows


def test_rows_of_another_length_are_left_out_and_counted_where_that_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,x\nb,y,z\nc\n\nd,x\ne,y\n", encoding="utf-8")

    read = read_file(path, keep_unreadable=True)

    assert [(row.number, row.values["text"]) for row in read.rows] == [(1, "a"), (5, "d"), (6, "e")]
    assert [(one.where, one.reason) for one in read.unreadable] == [
        (f"{path}, row {number}", f"{path}, row {number} (line {number + 1}): {cells} cells under 2 headers, {way}")
        for number, cells in ((2, 3), (3, 1))
        for way in [
            "as separated by commas; put quotes around a cell that holds the separator or a line end",
        ]
    ]
    with pytest.raises(InvalidData, match=r"row 2 \(line 3\): 3 cells under 2 headers"):
        read_file(path)


def test_a_file_of_which_most_rows_do_not_fit_is_refused_whatever_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "a,b,c\n" * 300 + "a,b\n" * 50, encoding="utf-8")

    with pytest.raises(InvalidData, match=r"row 1 \(line 2\): 3 cells under 2 headers"):
        read_file(path, keep_unreadable=True)
