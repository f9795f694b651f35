"""Answers: by generation or by the likeliest choice, kept as they come, read anew by a changed reader."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import Accuracy, Gain, StageFailed
from harness.experiment.decide import Verdict
from harness.inference.scripted import ScriptedEngine
from harness.runner.run import run_plan
from harness.store.store import Store


def with_choices(lamps, *choices: str):
    """Return the task with a fixed set of answers."""

    @dataclass(frozen=True)
    class Choosing(type(lamps)):  # type: ignore[misc]
        choices: tuple[str, ...] = ()

    return Choosing(wording=lamps.wording, rows=lamps.rows, choices=choices)


def test_a_task_with_choices_is_answered_by_the_likeliest(make_experiment: Callable, lamps, store: Store) -> None:
    task = with_choices(lamps, "white", "red", "green", "blue", "amber")
    experiment = make_experiment(task=task, metrics=[Accuracy()], go_if=[Gain(Accuracy(), at_least=0.05)])

    assert run_plan(experiment, name="lamps", store=store).decision.verdict is Verdict.GO

    assert store.query("SELECT DISTINCT text FROM answers ORDER BY text")[1] == [
        ("amber",), ("blue",), ("green",), ("red",), ("white",),
    ]  # fmt: skip
    each = (
        "SELECT DISTINCT count(*) FROM likelihoods l JOIN stages s ON s.key = l.stage_key "
        "WHERE s.kind = 'answer' GROUP BY l.stage_key, sample_id"
    )
    assert store.query(each)[1] == [(5,)]
    # A token is a word here, and each choice is one: five a sample, counted once.
    tokens = (
        "SELECT split, tokens_in, tokens_out FROM stages WHERE system = 'zero-shot' AND kind = 'answer' ORDER BY split"
    )
    assert store.query(tokens)[1] == [("dev", 200, 0), ("holdout", 1000, 0)]
    # What no row of the table knows is a tie of all five, and the first choice is taken.
    other = (
        "SELECT split, count(*) FROM answers a JOIN stages s ON s.key = a.stage_key "
        "WHERE system = 'zero-shot' AND s.kind = 'answer' AND text <> 'white' GROUP BY split ORDER BY split"
    )
    assert store.query(other)[1] == [("dev", 8 - 1), ("holdout", 40 - 8)]  # known, without those that are white


def test_a_changed_reader_reads_stored_answers_anew_and_generates_nothing(
    make_experiment: Callable, lamps, store: Store
) -> None:
    class Shouting(type(lamps)):  # type: ignore[misc]
        def read(self, text: str) -> object:
            return text.strip().upper() or None

    run_plan(make_experiment(), name="lamps", store=store)
    stages = store.query("SELECT key, started_at FROM stages ORDER BY key")
    shouting = Shouting(wording=lamps.wording, rows=lamps.rows)
    run_plan(make_experiment(task=shouting), name="lamps", store=store)

    assert store.query("SELECT key, started_at FROM stages ORDER BY key") == stages
    assert store.query("SELECT count(*) FROM answers WHERE value <> to_json(upper(text))")[1] == [(0,)]
    assert store.evidence("lamps").decision.verdict == "GO"
    assert {sample.expected for sample in store.evidence("lamps").samples} == {
        "RED", "GREEN", "BLUE", "AMBER", "WHITE",
    }  # fmt: skip


def test_a_reader_that_raises_is_named_with_its_sample(make_experiment: Callable, lamps, store: Store) -> None:
    class Fragile(type(lamps)):  # type: ignore[misc]
        def read(self, text: str) -> object:
            return {"red": 1, "green": 2, "blue": 3, "amber": 4, "white": 5}[text]

    task = Fragile(wording=lamps.wording, rows=lamps.rows)
    with pytest.raises(
        StageFailed, match=r"task 'lamps': read\(\) raised KeyError: 'I do not know.' on sample 'dev-68'"
    ):
        run_plan(make_experiment(task=task), name="lamps", store=store)


class _Failing(ScriptedEngine):
    """Fails at its third batch."""

    def generate(self, prompts: Sequence, decoding: object, *, done: frozenset[int] = frozenset()) -> Iterator:
        for place, batch in enumerate(super().generate(prompts, decoding, done=done)):
            if place == 2:
                raise OSError("No space left on device")
            yield batch


def test_a_fault_keeps_what_was_answered_and_says_how_to_go_on(
    make_experiment: Callable, store: Store, monkeypatch: pytest.MonkeyPatch, tables: Callable, tmp_path: Path
) -> None:
    experiment = make_experiment()
    with monkeypatch.context() as patched:
        patched.setattr("harness.inference.scripted.ScriptedEngine", _Failing)
        with pytest.raises(StageFailed, match=r"answer zero-shot on dev stopped: OSError: No space left.*resumes"):
            run_plan(experiment, name="lamps", store=store)
    assert store.query("SELECT count(*) FROM answers")[1] == [(16,)]

    run_plan(experiment, name="lamps", store=store)
    undisturbed = Store(tmp_path / "undisturbed" / "results.duckdb")
    run_plan(experiment, name="lamps", store=undisturbed)

    assert tables(store) == tables(undisturbed)
