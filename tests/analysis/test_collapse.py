"""One answer to everything."""

import pytest

from harness.analysis.collapse import collapse
from harness.types.samples import Answer, Sample


def told(said: list[str], right: list[str], *, read: bool = True) -> str | None:
    samples = [Sample(id=f"s{n}", input=str(n), reference=text, expected=text) for n, text in enumerate(right)]
    answers = [Answer(sample_id=f"s{n}", text=text, value=text if read else None) for n, text in enumerate(said)]
    found = collapse("lora", samples, answers)
    return None if found is None else found.status


@pytest.mark.parametrize(
    ("said", "right", "status"),
    [
        (["yes"] * 60, ["yes", "no"] * 30, "warning"),
        (["yes"] * 57 + ["no"] * 3, ["yes", "no"] * 30, "warning"),
        (["yes"] * 56 + ["no"] * 4, ["yes", "no"] * 30, "ok"),
        (["yes"] * 60, ["yes"] * 58 + ["no"] * 2, None),  # nearly all are yes: a constant is no sign
        (["yes"] * 5, ["yes", "no", "no", "yes", "no"], None),  # too few to tell
        ([f"text {n}" for n in range(60)], [f"ref {n}" for n in range(60)], "ok"),
        ([" yes", "yes "] * 30, ["yes", "no"] * 30, "warning"),
    ],
)
def test_one_answer_to_nearly_everything_is_a_collapse(said: list[str], right: list[str], status: str | None):
    assert told(said, right) == status


def test_answers_that_cannot_be_read_count_by_their_text():
    assert told(["?"] * 60, ["yes", "no"] * 30, read=False) == "warning"


def test_the_warning_says_how_often_that_answer_is_right():
    samples = [Sample(id=str(n), input=str(n), reference="a" if n % 4 else "b", expected=None) for n in range(40)]
    found = collapse("lora", samples, [Answer(sample_id=str(n), text="a") for n in range(40)])
    assert found is not None
    assert found.detail == (
        "lora has collapsed to one answer: it says 'a' to 40 of 40 DEV samples, which is right for 75.0 % of them"
    )
