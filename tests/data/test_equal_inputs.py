"""What a sample asks: equal texts in another dress are one, other signs are another question."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.leakage.audit import audit
from harness.data.leakage.equal_inputs import as_asked, clusters_of
from harness.data.text_similarity import normalised, same_text
from harness.types.samples import Message, Messages, Sample, Split


@dataclass(frozen=True)
class Asked:
    rows: tuple[Sample, ...]
    ask: Callable[[Sample], str]
    name: str = "asked"

    def samples(self, split: Split) -> tuple[Sample, ...]:
        return self.rows if split is Split.HOLDOUT else ()

    def prompt(self, sample: Sample) -> Messages:
        return (Message("system", "A long instruction for everybody."), Message("user", self.ask(sample)))

    def read(self, text: str) -> object | None:
        return text


def sample(place: int, asked: str, *, group: str | None = None, **tags: str) -> Sample:
    return Sample(id=f"s{place}", input=asked, reference="r", group=group, tags=tags)


def clusters(
    rows: list[Sample], ask: Callable[[Sample], str] = lambda one: f"Do: {one.input}\nAnswer:"
) -> list[str | None]:
    return list(clusters_of(as_asked(Asked(tuple(rows), ask), (Split.HOLDOUT,))[Split.HOLDOUT]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Turn on the light", "  turn ON the light!! "),
        ("don't", "don\u2019t"),
        ("\uff28\uff45\uff4c\uff4c\uff4f", "hello"),
        ("\u4f60\u597d\u5417\uff1f", "\u4f60\u597d\u5417"),
        ("well-known", "well known"),
        ("3 - 4", "3-4"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("stra\u00dfe", "STRASSE"),
    ],
)
def test_the_same_text_in_another_dress(one: str, other: str) -> None:
    assert same_text(one) == same_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 + 4", "3 - 4"),
        ("3 * 4", "3 / 4"),
        ("-5", "5"),
        ("a < b", "a > b"),
        ("(3 + 4) * 5", "3 + 4 * 5"),
        ("3 + 4 - 5", "3 - 4 + 5"),
        ("fine \U0001f600", "fine \U0001f621"),
        ("$5", "\u20ac5"),
        ("5 %", "5"),
    ],
)
def test_other_signs_are_another_text(one: str, other: str) -> None:
    assert same_text(one) != same_text(other)
    found = audit({"train": [sample(0, one)], "dev": [], "holdout": [replace(sample(1, other), reference="another")]})
    assert all(check.status != "invalid" for check in found)


@given(st.text(alphabet="ab C.,!?'()-1 ", max_size=20))
def test_text_without_signs_is_its_words(text: str) -> None:
    if not any(mark in text for mark in "-1"):
        assert same_text(text) in (normalised(text), text.strip())
    assert same_text(text) == same_text(f"  {text} ")


def test_groups_and_equal_inputs_are_connected() -> None:
    rows = [
        sample(0, "one"),
        sample(1, "ONE!"),
        sample(2, "two", group="g"),
        sample(3, "Two"),
        sample(4, "three", group="g"),
        sample(5, "three."),
        sample(6, "alone"),
        sample(7, "one", group="same input as s0"),
    ]

    assert clusters(rows[:7]) == ["same input as s0"] * 2 + ["g"] * 4 + [None]
    assert clusters(rows) == ["same input as s0"] * 2 + ["g"] * 4 + [None, "same input as s0"]


def test_a_document_that_the_prompt_alone_holds_is_part_of_the_input() -> None:
    rows = [sample(place, "What is it?", text=f"document {place % 3}") for place in range(6)]
    found = clusters(rows, lambda one: f"{one.tags['text']}\n\nQ: {one.input}")

    assert found == [f"same input as s{place % 3}" for place in range(6)]


def test_without_an_input_the_prompt_tells_samples_apart() -> None:
    rows = [sample(place, "", text=sign) for place, sign in enumerate("+-*+")]

    assert clusters(rows, lambda one: f"Compute 3 {one.tags['text']} 4 now") == [
        "same input as s0",
        None,
        None,
        "same input as s0",
    ]


def test_one_prompt_for_everybody_leaves_the_text_itself() -> None:
    rows = [sample(0, "a picture"), sample(1, "another"), sample(2, "A picture")]

    assert clusters(rows, lambda one: "What is shown?") == ["same input as s0", None, "same input as s0"]
