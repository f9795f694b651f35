"""Reasoning tasks: no question in two splits, and every reference right by the verifier."""

import sys

import pytest

from harness.errors import InvalidExperiment, MissingPackage
from harness.types.protocols import Metric, Task
from harness.types.samples import Answer, Sample, Score, Split
from tasks import reasoning
from tasks.reasoning import ReasoningScore, ReasoningTask

_SUMS = ReasoningTask("chain_sum", size=60, seed=3, options={"min_terms": 2, "max_terms": 2, "max_digits": 1})


@pytest.fixture
def gym() -> None:
    pytest.importorskip("reasoning_gym", reason="the extra `reasoning` is not installed", exc_type=ImportError)


def scored(task: ReasoningTask, sample: Sample, text: str) -> Score:
    return ReasoningScore(task).score(sample, Answer(sample_id=sample.id, text=text, value=task.read(text)))


@pytest.mark.usefixtures("gym")
def test_it_is_a_task_with_a_metric_and_its_references_are_right() -> None:
    assert isinstance(_SUMS, Task)
    assert isinstance(ReasoningScore(_SUMS), Metric)
    for split in Split:
        assert [scored(_SUMS, sample, sample.reference).value for sample in _SUMS.samples(split)] == [1.0] * len(
            _SUMS.samples(split)
        )


@pytest.mark.usefixtures("gym")
def test_no_question_is_in_two_splits_and_the_parts_have_their_shares() -> None:
    questions = [sample.input for split in Split for sample in _SUMS.samples(split)]
    assert len(set(questions)) == len(questions)
    sizes = [len(_SUMS.samples(split)) / len(questions) for split in Split]
    assert sizes == pytest.approx([0.6, 0.1, 0.3], abs=0.03)


@pytest.mark.usefixtures("gym")
def test_a_wrong_answer_scores_less_and_one_between_tags_is_read() -> None:
    sample = _SUMS.samples(Split.DEV)[0]
    assert scored(_SUMS, sample, "no idea").value < 0.1
    assert scored(_SUMS, sample, "").value == 0
    assert scored(_SUMS, sample, f"I think <answer>1</answer>, no: <answer> {sample.reference} </answer>.").value == 1


@pytest.mark.usefixtures("gym")
def test_another_seed_draws_other_problems_and_the_same_seed_the_same() -> None:
    again = ReasoningTask("chain_sum", size=60, seed=3, options=dict(_SUMS.options))
    other = ReasoningTask("chain_sum", size=60, seed=4, options=dict(_SUMS.options))
    assert again.samples(Split.DEV) == _SUMS.samples(Split.DEV)
    assert other.samples(Split.DEV) != _SUMS.samples(Split.DEV)


@pytest.mark.usefixtures("gym")
@pytest.mark.parametrize(
    ("task", "message"),
    [
        (ReasoningTask("basic_arithmetik"), "none of this name; near it: basic_arithmetic"),
        (ReasoningTask("chain_sum", options={"terms": 2}), "unexpected keyword argument 'terms'"),
        (ReasoningTask("chain_sum", options={"min_terms": 0}), "min_terms"),
    ],
)
def test_an_unknown_data_set_or_option_is_refused(task: ReasoningTask, message: str) -> None:
    with pytest.raises(InvalidExperiment, match=message):
        task.samples(Split.TRAIN)


def test_a_verifier_that_fails_on_an_answer_gives_it_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fragile:
        def __getitem__(self, index: int) -> dict[str, str]:
            return {}

        def score_answer(self, answer: object, entry: dict[str, str]) -> float:
            raise ZeroDivisionError("by hand")

    monkeypatch.setattr(reasoning, "_problems", lambda *_: Fragile())
    sample = Sample(id="s", input="?", reference="1", tags={"index": "0"})
    assert scored(_SUMS, sample, "1/0") == Score(0.0, detail={"verifier failed": "ZeroDivisionError: by hand"})


def test_without_the_package_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(MissingPackage, match=r"pip install reasoning-gym==0\.1\.25"):
        reasoning._problems("leg_counting", 10, 77, "{}")


@pytest.mark.parametrize("field", ["size", "seed", "answer_tokens"])
def test_a_count_below_its_least_is_refused(field: str) -> None:
    with pytest.raises(InvalidExperiment, match=rf"{field}=-1"):
        ReasoningTask(**{field: -1})  # type: ignore[arg-type]
