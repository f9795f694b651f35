"""Text of any length becomes windows that lose no word and say which document they are of."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import ExactMatch, Guard, InvalidData, InvalidExperiment, Message, Perplexity, Split, TextTask
from harness.data.text_task import windows_of
from harness.types.samples import Sample


def test_short_documents_are_one_holdout_window_each() -> None:
    task = TextTask("general", ["The sea is wide. ", "", "So is the sky."])

    assert task.samples(Split.HOLDOUT) == (
        Sample(id="text 1#1", input="The sea is wide.", reference="The sea is wide.", group="text 1"),
        Sample(id="text 3#1", input="So is the sky.", reference="So is the sky.", group="text 3"),
    )
    assert task.samples(Split.TRAIN) == task.samples(Split.DEV) == ()
    assert task.prompt(task.samples(Split.HOLDOUT)[0]) == (Message("user", "", verbatim=True),)


def test_windows_of_one_document_alone_stand_for_themselves() -> None:
    def groups(*texts: str, limit: int | None = None) -> list[str | None]:
        return [sample.group for sample in TextTask("g", texts, letters=20, limit=limit).samples(Split.HOLDOUT)]

    long = "The sea is wide. So is the sky, they say."
    assert groups(long) == [None, None, None]
    assert groups(long, "Done.") == ["text 1", "text 1", "text 1", "text 2"]
    assert groups(long, "Done.", limit=2) == [None, None]


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("One two three.\n\nFour five six.", ["One two three.", "Four five six."]),
        ("One two three\nfour five six", ["One two three", "four five six"]),
        ("Pi is 3.14. Four five six.", ["Pi is 3.14.", "Four five six."]),
        ("one two three four five", ["one two three four", "five"]),
        ("海很宽。天也很宽。山很高。" * 2, ["海很宽。天也很宽。山很高。海很宽。", "天也很宽。山很高。"]),
        ("x" * 45, ["x" * 20, "x" * 20, "x" * 5]),
        (" \n ", []),
    ],
)
def test_windows_end_where_a_reader_would_pause(text: str, windows: list[str]) -> None:
    assert windows_of(text, letters=20) == windows


@given(st.text(alphabet="ab .\n。", max_size=200), st.integers(1, 30))
def test_no_letter_is_lost_and_no_window_is_longer(text: str, letters: int) -> None:
    windows = windows_of(text, letters=letters)

    assert "".join("".join(windows).split()) == "".join(text.split())
    assert all(0 < len(window) <= letters for window in windows)


def test_files_folders_and_tables_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("of b", encoding="utf-8")
    (folder / "sub" / "a.md").write_text("\ufeffof a", encoding="utf-8")
    (folder / "c.pdf").write_bytes(b"\x00")
    table = tmp_path / "rows.jsonl"
    table.write_text("\n".join(json.dumps({"body": text}) for text in ("one", "two")), encoding="utf-8")

    def read(task: TextTask) -> list[tuple[str, str]]:
        return [(sample.id, sample.reference) for sample in task.samples(Split.HOLDOUT)]

    assert read(TextTask("f", folder)) == [("b.txt#1", "of b"), ("sub/a.md#1", "of a")]
    assert read(TextTask("f", str(folder / "b.txt"))) == [("b.txt#1", "of b")]
    assert read(TextTask("f", table, column="body")) == [("row 1#1", "one"), ("row 2#1", "two")]
    assert read(TextTask("f", table, column="body", limit=1)) == [("row 1#1", "one")]


def test_what_cannot_be_read_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "rows.jsonl").write_text('{"body": "x"}', encoding="utf-8")
    (tmp_path / "stored.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n")
    faults = {
        "none.txt": "no such file",
        "stored.txt": "is a Git LFS pointer, and the data are not here; run git lfs pull",
        "latin.txt": "is not UTF-8 at byte 0",
        "rows.jsonl": r"row 1: no text in 'text'; name the column",
    }

    for name, said in faults.items():
        with pytest.raises(InvalidData, match=said):
            TextTask("general", tmp_path / name).samples(Split.HOLDOUT)
    with pytest.raises(InvalidData, match="its texts are empty"):
        TextTask("general", [" "]).samples(Split.HOLDOUT)


def test_declarations_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InvalidExperiment, match="letters=0"):
        TextTask("general", ["a"], letters=0)
    with pytest.raises(InvalidExperiment, match="needs a name"):
        TextTask(" ", ["a"])
    with pytest.raises(InvalidExperiment, match="give a metric of likelihoods"):
        Guard(TextTask("general", ["a"]), ExactMatch(), by_at_most=0.1)
    assert Guard(TextTask("general", ["a"]), Perplexity(), by_at_most=0.1).comparison_name == "general: perplexity"


def test_a_share_of_the_windows_is_there_to_compare_recipes_on() -> None:
    task = TextTask("general", [f"text {number}" for number in range(5)], dev=0.4)

    assert [sample.input for sample in task.samples(Split.DEV)] == ["text 0", "text 1"]
    assert [sample.input for sample in task.samples(Split.HOLDOUT)] == ["text 2", "text 3", "text 4"]
    with pytest.raises(InvalidExperiment, match=r"dev=1\.5"):
        TextTask("general", "texts", dev=1.5)


def test_line_ends_of_other_systems_are_line_ends(tmp_path: Path) -> None:
    (tmp_path / "windows.txt").write_bytes(b"\xef\xbb\xbfOne.\r\nTwo.\r\n")

    assert [sample.input for sample in TextTask("g", tmp_path).samples(Split.HOLDOUT)] == ["One.\nTwo."]
