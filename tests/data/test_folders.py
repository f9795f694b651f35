"""Rows of a folder: shards in the order of their names, or text files, each a row."""

from pathlib import Path

import pytest

from harness.data.files.read import read_file
from harness.errors import InvalidData


def filled(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"from": "{name}"}}\n' if ".json" in name else name, encoding="utf-8")
    return folder


def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = filled(tmp_path, "part-10.jsonl", "part-2.jsonl", "README.md", ".hidden.jsonl", "dataset_info.json")

    read = read_file(folder)

    assert [row.where for row in read.rows] == [f"{folder}/part-2.jsonl, row 1", f"{folder}/part-10.jsonl, row 1"]
    assert [(note.kind, note.count) for note in read.notes] == [("read_as", 2)]


def test_a_text_file_is_a_row_with_its_name_as_id(tmp_path: Path) -> None:
    read = read_file(filled(tmp_path, "b.md", "a.txt", "LICENSE.txt", "picture.png"))

    assert [row.values for row in read.rows] == [{"id": "a.txt", "text": "a.txt"}, {"id": "b.md", "text": "b.md"}]
    assert [(note.kind, note.count) for note in read.notes] == [("read_as", 2), ("left_out", 1)]


def test_the_line_ends_of_a_text_are_line_feeds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")

    assert [row.values["text"] for row in read_file(tmp_path).rows] == ["one\ntwo\n"]


def test_the_folder_of_a_text_is_its_label(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)

    read = read_file(filled(tmp_path, "pos/1.txt", "neg/1.txt"))

    assert [row.values for row in read.rows] == [
        {"id": "neg/1.txt", "text": "neg/1.txt", "label": "neg"},
        {"id": "pos/1.txt", "text": "pos/1.txt", "label": "pos"},
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "is a folder without data files"),
        (("a.png",), "is a folder without data files"),
        (("a.txt", "b.csv"), r"holds data files \(b.csv\) and text files \(a.txt\)"),
        (("a.jsonl", "b.csv"), r"holds files of several kinds \(.csv, .jsonl\)"),
        (("train.jsonl", "test.jsonl"), r"holds several splits \(test, train\).* give .* as train=, dev= and holdout="),
        (("train/pos/1.txt", "test/pos/1.txt"), r"holds several splits \(test, train\)"),
        (
            ("train-00000-of-00003.jsonl", "train-00002-of-00003.jsonl"),
            "1 of 3 shards are missing, first train-00001-of-00003.jsonl; copy or download them again",
        ),
    ],
)
def test_a_folder_that_is_no_one_set_is_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        read_file(filled(tmp_path, *names))


def test_the_name_of_a_text_is_no_split(tmp_path: Path) -> None:
    assert len(read_file(filled(tmp_path, "test.txt", "my_train_notes.txt", "dev.txt")).rows) == 3


def test_the_shards_of_one_split_are_a_set(tmp_path: Path) -> None:
    read = read_file(filled(tmp_path, *(f"train-{number:05d}-of-00002.jsonl" for number in range(2))))

    assert len(read.rows) == 2
