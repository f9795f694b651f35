"""What a store knows of its file without opening it, and when it looks again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.store import database
from harness.store.rows import AnswerRow, StageRow
from harness.store.store import Store


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The paths that were opened, in order."""
    found: list[Path] = []
    attach = database._attach

    def counted(connection: object, path: Path, name: str) -> None:
        found.append(path)
        attach(connection, path, name)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "_attach", counted)
    return found


def test_a_stage_that_is_missing_is_looked_for_once(store: Store, openings: list[Path]) -> None:
    assert [store.stage(key) for key in ("k1", "k2", "k1")] == [None] * 3
    assert (store.answers("k1"), store.likelihoods("k2"), store.measures("k3")) == ((), (), ())
    assert store.stages(["k1", "k2"]) == {}
    assert len(openings) == 1


def test_what_was_kept_is_read_back_in_the_opening_that_finished_it(
    store: Store, stage: StageRow, make_answer: Callable[..., AnswerRow], openings: list[Path]
) -> None:
    store.append([make_answer("dev-1")])
    store.finish(stage, rows=[make_answer("dev-0", value={"a": (1, 2)})])
    del openings[:]

    kept = store.answers("k1"), store.likelihoods("k1"), store.stage("k1")
    assert openings == []
    again = Store(store.path)
    assert kept == (again.answers("k1"), again.likelihoods("k1"), again.stage("k1"))
    assert [row.sample_id for row in kept[0]] == ["dev-0", "dev-1"]
    assert kept[0][0].value == {"a": [1, 2]}  # as the file gives it back


def test_what_another_process_wrote_is_seen(
    store: Store, stage: StageRow, make_answer: Callable[..., AnswerRow]
) -> None:
    other = Store(store.path)
    assert (store.stage("k1"), store.answers("k1")) == (None, ())

    other.append([make_answer("dev-0")])
    assert [row.sample_id for row in store.answers("k1")] == ["dev-0"]
    other.finish(stage, rows=[make_answer("dev-1")])
    assert store.stage("k1") == stage
    assert [row.sample_id for row in store.answers("k1")] == ["dev-0", "dev-1"]


def test_what_another_process_made_anew_is_read_anew(
    store: Store, stage: StageRow, make_answer: Callable[..., AnswerRow]
) -> None:
    store.finish(stage, rows=[make_answer("dev-0", text="old")])
    other, again = Store(store.path), replace(stage, seconds=9.0)
    other.forget(["k1"])
    other.finish(again, rows=[make_answer("dev-0", text="new")])
    assert store.experiments() == ()  # the file is opened for something else first

    assert store.stage("k1") == again
    assert [row.text for row in store.answers("k1")] == ["new"]
    other.forget(["k1"])
    assert (store.stage("k1"), store.answers("k1")) == (None, ())


def test_writing_beside_another_does_not_hide_what_the_other_wrote(
    store: Store, stage: StageRow, make_answer: Callable[..., AnswerRow]
) -> None:
    other = Store(store.path)
    assert store.stage("k1") is None
    other.finish(stage, rows=[make_answer("dev-0")])

    store.finish(replace(stage, key="k2"))

    assert store.stage("k1") == stage
    assert len(store.answers("k1")) == 1


def test_a_write_that_failed_leaves_nothing_behind_that_is_believed(
    store: Store, stage: StageRow, make_answer: Callable[..., AnswerRow]
) -> None:
    store.append([make_answer("dev-0")])
    with pytest.raises(Exception, match="dev-0"):
        store.finish(stage, rows=[make_answer("dev-0")])

    assert store.stage("k1") is None
    assert [row.sample_id for row in store.answers("k1")] == ["dev-0"]


def test_what_is_forgotten_is_asked_anew(store: Store, stage: StageRow, make_answer: Callable[..., AnswerRow]) -> None:
    store.finish(stage, rows=[make_answer("dev-0")])
    store.forget(["k1"])

    assert (store.stage("k1"), store.answers("k1")) == (None, ())
    store.finish(stage, rows=[make_answer("dev-2")])
    assert [row.sample_id for row in store.answers("k1")] == ["dev-2"]


def test_values_that_were_read_anew_are_given(
    store: Store, stage: StageRow, make_answer: Callable[..., AnswerRow]
) -> None:
    store.finish(stage, rows=[make_answer("dev-0", value="old")])
    store.revalue("k1", {"dev-0": "new"})

    assert [row.value for row in store.answers("k1")] == ["new"]


def test_a_file_that_is_gone_is_empty(store: Store, stage: StageRow, make_answer: Callable[..., AnswerRow]) -> None:
    store.append([make_answer("dev-0")])
    store.path.unlink()

    assert store.answers("k1") == ()
