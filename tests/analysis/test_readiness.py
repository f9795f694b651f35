import json
from dataclasses import asdict

import numpy as np
import pytest

from harness.analysis.readiness import MeasuredGoal, Preparation, Tried, readiness, task_kind
from harness.prompting import RAG, FewShot, ZeroShot
from harness.stats.compare import standing
from harness.types.protocols import Strategy
from harness.types.samples import Check, Sample
from tests.analysis.scores import Right, scored

GOAL = MeasuredGoal(metric="exact_match", threshold=0.05, scored=100, samples=100, unit="%")
AUDIT = Check(name="leakage", status="ok", detail="No copies.", kind="data")


def tried(strategy: Strategy, share: float, count: int = 100) -> Tried:
    right = (np.arange(count) < count * share).astype(float)
    return Tried(strategy=strategy, standing=standing(Right(), split="dev", system=scored(strategy.name, right)))


def labelled(count: int, labels: str = "ab") -> list[Sample]:
    return [Sample(id=str(n), input="Which one is it?", reference=labels[n % len(labels)]) for n in range(count)]


def prepared(**fields: object) -> Preparation:
    given: dict[str, object] = {
        "goals": [GOAL],
        "tried": [tried(ZeroShot(), 0.3), tried(FewShot(shots=2), 0.5)],
        "train": labelled(600),
        "dev": 100,
        "corpus": 0,
        "checks": [AUDIT],
    }
    return Preparation(**{**given, **fields})  # type: ignore[arg-type]


def one(name: str, **fields: object) -> Check:
    return next(check for check in readiness(prepared(**fields)) if check.name == name)


def test_a_well_prepared_experiment_passes_every_question():
    found = readiness(prepared())
    assert [(check.name, check.status, check.kind) for check in found] == [
        ("measurable goal", "ok", "readiness"),
        ("prompting tried", "ok", "readiness"),
        ("retrieval tried", "ok", "readiness"),
        ("baseline on the same samples", "ok", "readiness"),
        ("training examples", "ok", "readiness"),
        ("data checked", "ok", "readiness"),
    ]
    assert found[0].detail == "A threshold is set, and every sample is scored for it: exact_match 5.0 pts."
    assert found[1].detail == "2 prompts tried on DEV: zero-shot 30.0 %, 2-shot 50.0 %."
    assert found[3].detail == "2 baselines answer the same 100 DEV samples as the tuned system will."
    json.dumps([asdict(check) for check in found])


def test_a_goal_without_a_size_or_with_unscored_samples_is_vague():
    any_gain = MeasuredGoal(metric="exact_match", threshold=0.0, scored=100, samples=100)
    assert one("measurable goal", goals=[any_gain]).status == "warning"
    assert one("measurable goal", goals=[any_gain, GOAL]).status == "ok"
    own = MeasuredGoal(metric="exact_match", threshold=None, scored=100, samples=100)
    assert one("measurable goal", goals=[own]).detail == (
        "A threshold is set, and every sample is scored for it: exact_match."
    )
    partial = MeasuredGoal(metric="judge", threshold=0.1, scored=90, samples=100)
    found = one("measurable goal", goals=[GOAL, partial])
    assert (found.status, found.detail) == (
        "warning",
        "A goal is measured on every sample, but judge scored 90 of 100.",
    )


def test_a_single_prompt_is_a_straw_man():
    found = one("prompting tried", tried=[tried(ZeroShot(), 0.3)])
    assert found.status == "warning"
    assert found.detail.startswith("One prompt alone was tried on DEV (zero-shot 30.0 %): a weak one makes any tuning")


def test_prompts_that_never_get_a_sample_right_point_at_the_prompt_or_the_reader():
    found = one("prompting tried", tried=[tried(ZeroShot(), 0.0), tried(FewShot(shots=2), 0.0)])
    assert (found.status, "how answers are read" in found.detail) == ("warning", True)


def test_retrieval_is_asked_for_where_there_is_a_corpus():
    assert one("retrieval tried", corpus=40).status == "warning"
    assert "40 passages" in one("retrieval tried", corpus=40).detail
    with_rag = one("retrieval tried", corpus=40, tried=[tried(ZeroShot(), 0.3), tried(RAG(passages=3), 0.4)])
    assert (with_rag.status, with_rag.detail.endswith("40.0 %.")) == ("ok", True)


def test_baselines_on_other_samples_are_named():
    found = one("baseline on the same samples", tried=[tried(ZeroShot(), 0.3, 90), tried(FewShot(shots=2), 0.5)])
    assert (found.status, "zero-shot 90" in found.detail) == ("warning", True)


@pytest.mark.parametrize(
    ("count", "status", "said"),
    [
        (9, "warning", "9 training examples: below 10 nothing is learned"),
        (49, "warning", "49 training examples: an effect usually shows from 50 to 100 on"),
        (499, "warning", "499 training examples: for labels 500 to 2,000 are usual"),
        (500, "ok", "500 to 2,000 are usual"),
    ],
)
def test_how_many_examples_are_enough_hangs_on_the_task(count: int, status: str, said: str):
    found = one("training examples", train=labelled(count))
    assert (found.status, said in found.detail) == (status, True)


def test_a_label_with_few_examples_is_named():
    train = [*labelled(600), *(Sample(id=f"x{n}", input="?", reference="rare") for n in range(3))]
    found = one("training examples", train=train)
    assert (found.status, found.items) == ("warning", ({"label": "rare", "examples": 3},))


def test_the_kind_of_task_is_read_off_the_references():
    def made(references: list[str]) -> list[Sample]:
        return [Sample(id=str(n), input="?", reference=text) for n, text in enumerate(references)]

    assert task_kind(made(["yes", "no"] * 20)) == "labels"
    assert task_kind(made([json.dumps({"room": f"room {n} of the house by the sea"}) for n in range(40)])) == (
        "short or structured answers"
    )
    assert task_kind(made([f"in {1900 + n}" for n in range(40)])) == "short or structured answers"
    assert task_kind(made([f"The answer, written out as prose in the end, is number {n}." for n in range(40)])) == (
        "free text"
    )


def test_what_the_data_checks_found_is_repeated():
    leak = Check(name="leakage", status="warning", detail="3 copies in holdout.", kind="data")
    found = one("data checked", checks=[AUDIT, leak])
    assert (found.status, found.detail) == (
        "warning",
        "1 of 2 checks of the data found something. leakage: 3 copies in holdout.",
    )
    assert one("data checked", checks=[]).status == "warning"
