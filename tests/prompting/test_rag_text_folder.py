import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidData, InvalidExperiment
from harness.prompting.rag import chunks, read_passages
from harness.types.samples import Passage


def test_files_are_read_in_order_and_cut_at_paragraphs(tmp_path):
    (tmp_path / "b.txt").write_text("short\n\nalso short\n \nthis one is too long to join", encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.MD").write_text("\ufeff# Title\r\n\r\ntext\r\n", encoding="utf-8")
    (tmp_path / "image.png").write_bytes(b"\xff\xd8")
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    assert read_passages(tmp_path, characters=30) == [
        Passage(id="a/notes.MD#1", text="# Title\n\ntext"),
        Passage(id="b.txt#1", text="short\n\nalso short"),
        Passage(id="b.txt#2", text="this one is too long to join"),
    ]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One is here. Two is there. Three", ["One is here.", "Two is there.", "Three"]),
        ("aaa bbb ccc ddd eee fff", ["aaa bbb ccc ddd", "eee fff"]),
        ("第一句话在这里写。第二句话也在这里。三", ["第一句话在这里写。", "第二句话也在这里。三"]),
        ("x" * 20, ["x" * 15, "x" * 5]),
    ],
)
def test_a_long_paragraph_is_cut_after_a_sentence_else_between_words(text, pieces):
    assert list(chunks(text, 15)) == pieces


@given(st.text(alphabet="ab .。\n", max_size=200), st.integers(1, 40))
def test_no_chunk_is_too_long_or_blank_and_no_letter_is_lost(text, characters):
    found = list(chunks(text, characters))
    assert all(0 < len(chunk) <= characters and chunk.strip() for chunk in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_folder_without_text_is_refused(tmp_path):
    with pytest.raises(InvalidExperiment, match=r"no text in it; put \.txt or \.md"):
        read_passages(tmp_path)
    with pytest.raises(InvalidExperiment, match="there is no such folder"):
        read_passages(tmp_path / "missing")


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "old.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InvalidData, match=r"old\.txt: byte 3 is not UTF-8; save the file as UTF-8"):
        read_passages(tmp_path)


def test_a_pointer_in_place_of_a_text_is_no_passage(tmp_path):
    (tmp_path / "stored.md").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n")
    with pytest.raises(
        InvalidData, match=r"stored\.md: is a Git LFS pointer, and the text is not here; run git lfs pull"
    ):
        read_passages(tmp_path)
