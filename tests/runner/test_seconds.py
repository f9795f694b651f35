"""What an answer's seconds are made of: its batch's time, the retriever's, that of weighing choices."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from harness import (
    RAG,
    AtMost,
    BreakEven,
    Costs,
    ExactMatch,
    Experiment,
    FewShot,
    Gain,
    Latency,
    Passage,
    Sample,
    ZeroShot,
)
from harness.analysis.retrieval_table import lookups
from harness.inference.scripted import Scripted, ScriptedEngine
from harness.report.page import render_page
from harness.runner.run import Options, run_plan
from harness.store.store import Store
from harness.types.protocols import Strategy
from harness.types.samples import Answer, Messages
from harness.verification.page import verify_page
from tests.runner.conftest import Lamps, lamps_experiment

_LOOKED_UP = 0.002


@dataclass(frozen=True)
class Library(Lamps):
    """The lamps, with passages. words: what stands in each of them."""

    words: str = "lamp"

    def corpus(self) -> tuple[Passage, ...]:
        return tuple(Passage(f"p{place}", f"{self.words} {place}") for place in range(5))


@dataclass(frozen=True)
class Choices(Lamps):
    choices: tuple[str, ...] = ("red", "green", "blue", "amber", "white")


@dataclass(frozen=True)
class Slow:
    """A strategy of a user's own whose look-up takes a while."""

    name: ClassVar[str] = "slow"

    def messages(self, task: Lamps, sample: Sample) -> Messages:
        time.sleep(_LOOKED_UP)
        return task.prompt(sample)


class Batched(ScriptedEngine):
    """Answers that share the time of one batch."""

    def generate(self, *args: object, **fields: object) -> Iterator[object]:  # type: ignore[override]
        for places, found in super().generate(*args, **fields):  # type: ignore[arg-type]
            alone = len(args[0]) == 1  # type: ignore[arg-type]
            yield places, tuple(replace(one, timed_in_batch=None if alone else 0) for one in found)


@dataclass(frozen=True)
class BatchedModel(Scripted):
    engine: ClassVar[str] = "tests.runner.test_seconds:open_batched"


def open_batched(model: Scripted, *, progress: object) -> Batched:
    return Batched(model)


def batched(**changes: object) -> Experiment:
    """A baseline that takes 3 ms and a tuned system that takes 1 ms, in batches whose time is dealt out evenly."""
    made = lamps_experiment(**changes)  # type: ignore[arg-type]
    model = made.model
    assert isinstance(model, Scripted)
    fields = {"answers": model.answers, "after_tuning": model.after_tuning}
    slow, fast = (BatchedModel(**fields, name=n, seconds_per_answer=s) for n, s in (("slow", 0.003), ("fast", 0.001)))
    return replace(made, model=fast, baselines=[ZeroShot(model=slow)])


def test_what_a_lookup_took_is_a_part_of_the_answers_seconds(store: Store) -> None:
    run_plan(lamps_experiment(baselines=[Slow()]), name="lamps", store=store)

    rows = store.query(
        "SELECT system, min(answers.seconds), min(lookup_seconds), max(retrieved) FROM answers "
        "JOIN stages ON key = stage_key GROUP BY system ORDER BY system"
    )[1]
    (tuned, slow) = rows
    assert (slow[0], slow[1] >= _LOOKED_UP, slow[2] >= _LOOKED_UP, slow[3]) == ("slow", True, True, None)
    assert 0 <= tuned[2] <= tuned[1]


@pytest.mark.parametrize("strategy", [RAG(passages=2), FewShot(shots=2, select="nearest")])
def test_how_many_texts_were_found_is_kept_with_each_answer(store: Store, strategy: Strategy) -> None:
    run_plan(
        lamps_experiment(task=Library(), baselines=[strategy]),
        name="lamps",
        store=store,
        options=Options(until="baseline"),
    )

    assert store.query("SELECT DISTINCT retrieved FROM answers")[1] == [(2,)]
    (check,) = [check for check in store.evidence("lamps").checks if check.name == "retriever"]  # type: ignore[union-attr]
    assert (check.status, "found something for every sample" in check.detail) == ("ok", True)


def test_a_retriever_that_finds_nothing_is_no_evidence_against_retrieval(store: Store) -> None:
    task = Library(words="琥珀")
    outcome = run_plan(lamps_experiment(task=task, baselines=[ZeroShot(), RAG(passages=2)]), name="lamps", store=store)

    assert outcome.decision.verdict.value == "INVALID"
    assert "rag-2 bm25: the retriever found nothing for 40 of 40 DEV samples" in outcome.decision.reason
    assert store.query("SELECT count(*) FROM stages WHERE kind = 'tune'")[1] == [(0,)]


@pytest.mark.parametrize(("empty", "status"), [(0, "ok"), (2, "ok"), (3, "warning"), (20, "warning"), (21, "invalid")])
def test_few_misses_warn_and_many_bar_the_verdict(empty: int, status: str) -> None:
    answers = [Answer(sample_id=str(n), text="", retrieved=0 if n < empty else 3) for n in range(40)]
    found = lookups("rag", answers)
    assert found is not None
    assert found.status == status
    assert lookups("zero-shot", [replace(answer, retrieved=None) for answer in answers]) is None


def test_choices_are_weighed_in_real_time(store: Store) -> None:
    run_plan(lamps_experiment(task=Choices()), name="lamps", store=store)

    found = store.query("SELECT min(seconds), max(timed_in_batch), min(tokens_in) FROM answers")[1]
    assert [(seconds > 0, batch, tokens > 0) for seconds, batch, tokens in found] == [(True, 0, True)]
    assert store.query("SELECT count(*) FROM likelihoods WHERE seconds IS NULL OR seconds < 0")[1] == [(0,)]


def test_times_of_one_batch_meet_and_fail_nothing(store: Store) -> None:
    criteria = [AtMost(Latency(), 1.0), BreakEven(1e6)]
    experiment = batched(
        metrics=[ExactMatch(), Latency()], go_if=criteria, costs=Costs(training_hour=1.0, serving_hour=1.0)
    )
    outcome = run_plan(experiment, name="lamps", store=store)

    assert [finding.status for finding in outcome.decision.findings] == ["open", "open"]
    for finding in outcome.decision.findings:
        assert "Latency(one_at_a_time=True)" in finding.sentence


def test_asked_one_at_a_time_the_same_times_decide(store: Store, tmp_path: Path) -> None:
    alone = Latency(one_at_a_time=True, samples=8)
    criteria = [Gain(ExactMatch(), at_least=0.1), AtMost(alone, 0.5), BreakEven(1e6)]
    experiment = batched(
        metrics=[ExactMatch(), alone], go_if=criteria, costs=Costs(training_hour=1.0, serving_hour=1.0)
    )
    outcome = run_plan(experiment, name="lamps", store=store)

    assert [finding.status for finding in outcome.decision.findings] == ["met", "met", "met"]
    evidence = store.evidence("lamps")
    assert evidence is not None
    assert [row.samples for row in evidence.comparisons] == [200, 8]
    timed = store.query("SELECT split, count(*) FROM stages WHERE kind = 'timing' GROUP BY split ORDER BY split")[1]
    assert timed == [("dev", 2), ("holdout", 2)]
    page = tmp_path / "lamps.html"
    page.write_text(render_page(evidence), encoding="utf-8")
    assert verify_page(page).differences == []
    again = run_plan(experiment, name="lamps", store=store)
    assert store.query("SELECT count(*) FROM stages WHERE kind = 'timing'")[1] == [(4,)]
    assert again.decision == outcome.decision
