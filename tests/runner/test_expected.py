"""What is listed before a run is what the run comes to."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from benchmarks.situations.world import Knowledge, Words, scripted, words_task
from harness import (
    RAG,
    AtLeast,
    ExactMatch,
    Experiment,
    FewShot,
    Gain,
    Guard,
    Passage,
    Perplexity,
    Sampling,
    Split,
    Steps,
    ZeroShot,
)
from harness.inference.scripted import ScriptedTuning
from harness.plan import Plan
from harness.runner.expected import expected_stages
from harness.runner.run import Options, run_plan
from harness.store.store import Store

# Each passage shares a word with one DEV question, so that retrieval finds something.
TASK = replace(
    words_task(40),
    passages=tuple(
        Passage(id=f"p{n}", text=f"thing {sample.input.split()[0]}")
        for n, sample in enumerate(words_task(40).samples(Split.DEV))
    ),
)
OTHER = words_task(20, seed=1, name="other")


@dataclass(frozen=True)
class Counted:
    """A metric that runs something of its own."""

    name: str = "counted"
    better: str = "higher"
    executor: str = "tests.runner.test_expected:count"


def count(metric: Counted, samples: Any, answers: Any) -> list[float]:
    return [float(len(answer.text)) for answer in answers]


def experiment(task: Words = TASK, **changes: Any) -> Experiment:
    fields: dict[str, Any] = {
        "question": "Should this be tuned?",
        "task": task,
        "model": scripted(task, Knowledge(base=0.2, tuned=0.9)),
        "baselines": [ZeroShot()],
        "recipes": [ScriptedTuning()],
        "metrics": [ExactMatch()],
        "go_if": [Gain(ExactMatch(), at_least=0.05)],
    }
    return Experiment(**{**fields, **changes})


TWO = [ScriptedTuning(name="first"), ScriptedTuning(name="second", learn=0.5)]


@pytest.mark.parametrize(
    "changes",
    [
        {"curve": (0.5, 1.0), "seeds": (1, 2), "metrics": [ExactMatch(), Counted()]},
        {
            "baselines": [ZeroShot(), FewShot(shots=2), RAG(passages=2)],
            "recipes": TWO,
            "curve": (0.5,),
            "guards": [Guard(OTHER, ExactMatch(), by_at_most=0.5)],
        },
        {"baselines": [ZeroShot(), RAG(passages=2)], "recipes": [ScriptedTuning(prompt=RAG(passages=1))]},
        {
            "recipes": [Steps([ScriptedTuning(name="a"), ScriptedTuning(name="b")], evaluate_each=True)],
            "metrics": [ExactMatch(), Perplexity()],
        },
        {"sampling": Sampling(temperature=0.7, repeats=2)},
        {"stop_early": True},
        {"stop_if": [AtLeast(ExactMatch(), 0.05)]},
    ],
    ids=lambda changes: ", ".join(changes) or "plain",
)
def test_the_stages_of_a_finished_run_were_listed_before_it(tmp_path, changes):
    declared = experiment(**changes)
    expected = expected_stages(Plan(declared, "words"))
    store = Store(tmp_path / "results.duckdb")
    run_plan(declared, name="words", store=store)

    done = {
        str(key): f"{kind} {system}" for key, kind, system in store.query("SELECT key, kind, system FROM stages")[1]
    }
    listed = {one.stage.key: one for one in expected}
    assert {key: label for key, label in done.items() if key not in listed} == {}
    assert [one.stage.label for one in expected if not one.when and one.stage.key not in done] == []


def test_fresh_forgets_all_that_was_listed(tmp_path):
    declared = experiment(curve=(0.5,), metrics=[ExactMatch(), Counted()])
    store = Store(tmp_path / "results.duckdb")
    run_plan(declared, name="words", store=store)
    first = store.stages([one.stage.key for one in expected_stages(Plan(declared, "words"))])
    run_plan(declared, name="words", store=store, options=Options(fresh=True))
    second = store.stages(list(first))

    assert first.keys() == second.keys()
    assert all(second[key].started_at > first[key].started_at for key in first)


def test_a_holdout_asked_in_parts_is_listed_part_by_part():
    labels = [one.stage.label for one in expected_stages(Plan(experiment(stop_early=True), "words"))]
    parts = [label for label in labels if "zero-shot, part" in label]
    assert parts == [f"answer zero-shot, part {n} of {len(parts)} on holdout" for n in range(1, len(parts) + 1)]
    assert len(TASK.samples(Split.HOLDOUT)) // 16 <= len(parts)
