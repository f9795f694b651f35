"""Graders over completions: weighted, and what raises, hangs or says nothing is counted."""

import json
import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from harness.errors import StageFailed
from harness.metrics import ExactMatch, JsonFields
from harness.recipes import GRPO, JudgeGrade, Weighted
from harness.training.rl.rewards import Completed, Graders, grading, sample_of
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.protocols import Direction
from harness.types.samples import Answer, Completion, Example, Message, Sample, Score

_SAMPLE = Sample(id="a", input="?", reference='{"x": 1, "y": 2}')
_EXAMPLE = Example(id="a", prompt=(Message("user", "?"),), answer=_SAMPLE.reference, sample=_SAMPLE)


class Objects:
    """A task whose answers are JSON objects."""

    name = "objects"

    def samples(self, split: object) -> tuple[Sample, ...]:
        return ()

    def prompt(self, sample: Sample) -> tuple[Message, ...]:
        return (Message("user", sample.input),)

    def read(self, text: str) -> object | None:
        try:
            return json.loads(text)
        except ValueError:
            return None


def completed(*texts: str) -> list[Completed]:
    return [Completed(text=text, tokens=(1,) * len(text), cut=False) for text in texts]


def graders(reward: Any, heard: Any, **fields: Any) -> Graders:
    return Graders(GRPO(reward=reward, **fields), task=Objects(), progress=heard)


def test_the_reward_is_the_weighted_sum(heard) -> None:  # type: ignore[no-untyped-def]
    texts = ('{"x": 1, "y": 2}', '{"x": 1, "y": 3}', "nothing")
    made = graders([ExactMatch(), Weighted(JsonFields(), 0.5)], heard)
    marks = made.grade([_EXAMPLE] * 3, completed(*texts))

    assert marks.each == {"exact_match": (1.0, 0.0, 0.0), "json_fields": (1.0, 0.5, 0.0)}
    assert marks.total == (1.5, 0.25, 0.0)
    assert marks.mean == pytest.approx(1.75 / 3)
    assert [(check.name, check.status) for check in made.checks()] == [
        ("grader exact_match", "ok"),
        ("grader json_fields", "ok"),
    ]


def test_a_score_of_which_less_is_better_counts_negatively(heard) -> None:  # type: ignore[no-untyped-def]
    @dataclass(frozen=True)
    class Length:
        name: ClassVar[str] = "length"
        better: ClassVar[Direction] = "lower"

        def score(self, sample: Sample, answer: Answer) -> float:
            return float(len(answer.text))

    assert graders(Length(), heard).grade([_EXAMPLE], completed("four")).total == (-4.0,)


def test_a_grader_that_raises_or_hangs_gives_the_failure_score_and_is_counted(heard) -> None:  # type: ignore[no-untyped-def]
    def fragile(sample: Sample, answer: Answer) -> float:
        if answer.text == "raise":
            raise KeyError("lamp")
        if answer.text == "hang":
            time.sleep(600)
        return float("nan") if answer.text == "nan" else 1.0

    made = graders(fragile, heard, failure=-1.0, grader_seconds=0.2)
    marks = made.grade([_EXAMPLE] * 8, completed("raise", "hang", "nan", *["fine"] * 5))

    assert marks.total == (-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    (check,) = made.checks()
    assert check.status == "warning"
    assert check.detail == "it failed on 3 of 8 completions, which got -1 instead; first: KeyError: 'lamp'"
    assert [item["error"] for item in check.items] == [  # type: ignore[index]
        "KeyError: 'lamp'",
        "it took longer than 0.2 s",
        "it returned nan (float)",
    ]


def test_a_grader_that_fails_on_more_than_half_ends_the_run_with_its_error(heard) -> None:  # type: ignore[no-untyped-def]
    def broken(sample: Sample, answer: Answer) -> float:
        return 1 / (len(answer.text) - 4)

    made = graders(broken, heard)
    made.grade([_EXAMPLE] * 8, completed(*["four"] * 8))
    with pytest.raises(
        StageFailed,
        match=r"the grader broken failed on 9 of 16 completions, the first time on sample a: ZeroDivisionError: .*mend",
    ):
        made.grade([_EXAMPLE] * 8, completed("four", *["seven"] * 7))


def test_a_metric_that_is_computed_for_all_at_once_grades_too(heard) -> None:  # type: ignore[no-untyped-def]
    @dataclass(frozen=True)
    class Ranks:
        name: ClassVar[str] = "ranks"
        better: ClassVar[Direction] = "higher"

        def score_all(self, samples: Any, answers: Any) -> list[float | Score]:
            return [Score(float(place)) for place, _ in enumerate(answers)]

    assert graders(Ranks(), heard).grade([_EXAMPLE] * 3, completed("a", "b", "c")).total == (0.0, 1.0, 2.0)


class Judge:
    """An engine that grades by the answer's length, and says nothing of empty ones."""

    closed = False

    def generate(self, prompts: Any, decoding: Any, *, done: frozenset[int] = frozenset()) -> Any:
        for place in reversed(range(len(prompts))):
            text = prompts[place][1].content.split("<answer>\n")[1].split("\n</answer>")[0]
            reply = f"Score: {len(text) / 10}" if text else "Hm."
            yield (place,), (Completion(text=reply, prompt="", tokens_in=1, tokens_out=1, seconds=0.0),)

    def close(self) -> None:
        Judge.closed = True


def open_judge(model: Any, *, progress: Any) -> Judge:
    return Judge()


def test_a_model_judges_and_a_verdict_without_a_number_is_counted(heard) -> None:  # type: ignore[no-untyped-def]
    judge = JudgeGrade(Model("any", engine=f"{__name__}:open_judge"))
    made = graders(judge, heard)
    assert made.grade([_EXAMPLE] * 3, completed("four", "", "sevenxx")).total == (0.4, 0.0, 0.7)
    (check,) = made.checks()
    assert check.detail.endswith("first: its verdict has no score from 0 to 1: 'Hm.'")
    made.close()
    assert Judge.closed


def test_a_sample_is_made_of_an_example_that_came_from_none() -> None:
    bare = replace(_EXAMPLE, sample=None)
    assert sample_of(bare, None) == Sample(id="a", input="?", reference=bare.answer, expected=bare.answer)
    assert sample_of(_EXAMPLE, Objects()).expected == {"x": 1, "y": 2}


def test_without_graders_and_without_a_reward_model_the_way_out_is_named(heard, tmp_path) -> None:  # type: ignore[no-untyped-def]
    job = TuneJob(recipe=GRPO(), model=Model("m"), train=(_EXAMPLE,), dev=(), seed=0, folder=tmp_path)
    with pytest.raises(StageFailed, match=r"nothing to learn from; give it reward=\.\.\., or let it follow a reward"):
        grading(job, progress=heard)
