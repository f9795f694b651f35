"""How answers ended, counted; which of them are none; and what to change."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.analysis.endings import MOST_MISSING, AnswerRule, Endings, endings
from harness.types.samples import Answer, Completion, Sample

PLAIN = AnswerRule(settled=lambda sample, answer: False, refusals=False, limit=8, hosted=False)


def asked(*said: Answer, expected: object = "red") -> list[tuple[Sample, Answer]]:
    return [
        (Sample(id=f"s{place}", input="?", reference="red", expected=expected), replace(answer, sample_id=f"s{place}"))
        for place, answer in enumerate(said)
    ]


def answer(text: str = "red", value: object = "red", **fields: object) -> Answer:
    return Answer(sample_id="", text=text, value=value, **fields)


def found(*said: Answer, reading: AnswerRule = PLAIN, expected: object = "red") -> Endings:
    return endings("zero-shot", "dev", asked(*said, expected=expected), reading)


WHOLE = [answer()] * 16


def test_whole_answers_are_all_answers() -> None:
    assert found(*WHOLE) == Endings(
        system="zero-shot",
        split="dev",
        answers=16,
        ended={"stop": 16},
        faults={},
        share=0.0,
        examples=(),
        sentence="zero-shot on dev: each of 16 answers is whole and can be read",
        remedy="",
    )


@pytest.mark.parametrize(
    ("one", "fault", "says", "remedy"),
    [
        (answer("Let me", ended="length"), "cut", "1 cut at the token limit", "raise answer_tokens from 8 to 32"),
        (
            answer("", None, ended="length", reasoning="Well, the lamp"),
            "cut",
            "1 cut at the token limit",
            'from 8 to 2,048, or switch thinking off: Model(..., template_options={"enable_thinking": False})',
        ),
        (answer("", None, ended="empty"), "empty", "1 empty", "stop strings and chat template, for s16"),
        (answer("", None, ended="empty", reasoning="Hm"), "empty", "1 empty", "hold thoughts and no answer"),
        (answer("", None, ended="filter"), "filtered", "1 stopped by a content filter", "content filter"),
        (answer("No.", "No.", ended="refusal"), "refused", "1 refused", "SafetyRules()"),
        (answer("", None, ended="tool"), "tool", "1 a tool call without text", "tool_choice"),
        (answer("It is red", None), "unread", "1 not readable", "gives nothing for 'It is red'"),
    ],
)  # fmt: skip
def test_each_fault_is_counted_and_says_what_to_change(one: Answer, fault: str, says: str, remedy: str) -> None:
    told = found(*WHOLE, one)

    assert (told.faults, told.share, told.too_many) == ({fault: 1}, 1 / 17, True)
    assert told.sentence == f"zero-shot on dev: 1 of 17 answers (5.9 %) cannot be judged: {says}"
    assert remedy in told.remedy
    assert [(item.sample_id, item.fault) for item in told.examples] == [("s16", fault)]


def test_one_in_twenty_is_not_too_many() -> None:
    told = found(*[answer()] * 19, answer("", None, ended="empty"))

    assert (told.share, told.too_many) == (MOST_MISSING, False)


def test_a_server_is_told_of_in_its_own_words() -> None:
    told = found(answer("", None, ended="length", reasoning="Well"), reading=replace(PLAIN, hosted=True))

    assert 'Endpoint(parameters={"chat_template_kwargs": {"enable_thinking": False}})' in told.remedy


@pytest.mark.parametrize(
    ("one", "reading", "expected"),
    [
        (answer("red and", ended="length"), replace(PLAIN, settled=lambda sample, answer: True), "red"),
        (answer("No.", "No.", ended="refusal"), replace(PLAIN, refusals=True), "red"),
        (answer("", "", ended="empty"), PLAIN, ""),
        (answer("anything", None), PLAIN, None),
        (answer("calling", "calling", ended="tool"), PLAIN, "red"),
    ],
)
def test_what_the_task_takes_for_an_answer_is_one(one: Answer, reading: AnswerRule, expected: object) -> None:
    """A value that the cut left as it is, a refusal that is judged, nothing said where that is right, no values."""
    assert found(*[one] * 3, reading=reading, expected=expected).faults == {}


def test_the_beginning_of_a_thought_is_no_value_that_a_cut_left_alone() -> None:
    """A reader of first lines takes it for an answer, whatever comes behind."""
    front = answer("Let me think.\nIt may", "Let me think.", ended="length")
    assert found(front, reading=replace(PLAIN, settled=lambda sample, answer: True)).faults == {"cut": 1}


def test_the_first_example_of_each_fault_comes_before_more_of_one() -> None:
    cut, empty = answer("Let me", ended="length"), answer("", None, ended="empty")
    told = found(*[cut] * 30, empty)

    assert [item.sample_id for item in told.examples[:3]] == ["s0", "s30", "s1"]
    assert len(told.examples) == 20


@pytest.mark.parametrize(
    ("text", "ended", "expected"), [("", "stop", "empty"), (" \n", "stop", "empty"), ("", "filter", "filter")]
)
def test_a_completion_that_says_nothing_is_empty(text: str, ended: str, expected: str) -> None:
    made: Callable[..., Completion] = Completion
    assert made(text=text, prompt="", tokens_in=1, tokens_out=0, seconds=0.0, ended=ended).ended == expected
