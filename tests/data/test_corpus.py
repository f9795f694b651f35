"""Retrieval must not hand a holdout answer to the model."""

import pytest

from harness.data.leakage.audit import audit
from harness.types.samples import Check, Passage, Sample

QUESTION = "How many days does a transfer to an account abroad usually take?"
HOLDOUT = Sample(id="h", input=QUESTION, reference="Two days", group="transfers")
TRAIN = Sample(id="t", input="Who may open a second account?", reference="Anyone")


def corpus_check(*passages: Passage, holdout: Sample = HOLDOUT, lookup: bool = False) -> Check:
    checks = audit({"train": [TRAIN], "holdout": [holdout]}, passages, corpus_is_lookup=lookup)
    return next(check for check in checks if check.name == "holdout in the retrieval corpus")


@pytest.mark.parametrize(
    ("passage", "why"),
    [
        (Passage("p", "unlike text", sample_id="h"), "made from the sample"),
        (Passage("p", "unlike text", group="transfers"), "group 'transfers'"),
        (Passage("p", QUESTION.upper()), "the same text"),
        (Passage("p", f"Frequent questions. {QUESTION} Ask us."), "holds the text"),
        (
            Passage("p", "Q: How many days does a transfer to an acount abroad usually take? A: Two days."),
            "nearly the same text, with the reference",
        ),
    ],
)
def test_a_passage_that_gives_the_holdout_away_is_invalid_and_named(passage: Passage, why: str) -> None:
    check = corpus_check(Passage("clean", "Cards are free of charge."), passage)

    assert check.status == "invalid"
    assert [(item["passage"], item["id"], item["why"]) for item in check.items] == [("p", "h", why)]  # type: ignore[index]


@pytest.mark.parametrize(
    "passage",
    [
        Passage("p", "A transfer to an account abroad usually takes two days."),
        Passage("p", "How many days does a transfer to an acount abroad usually take? Look it up."),
        Passage("p", f"{TRAIN.input} {TRAIN.reference}", sample_id="t"),
        Passage("p", "unlike text", sample_id="t", group="accounts"),
        Passage("p", ""),
    ],
)
def test_a_passage_about_the_matter_is_no_leak(passage: Passage) -> None:
    assert corpus_check(passage).status == "ok"


def test_a_short_input_is_a_phrase_unless_the_reference_stands_beside_it() -> None:
    sample = Sample(id="h", input="essential hypertension without heart failure", reference="I10")

    assert corpus_check(Passage("p", f"See also {sample.input}, grade 2"), holdout=sample).status == "ok"
    assert corpus_check(Passage("p", f"I10: {sample.input}"), holdout=sample).status == "invalid"


def test_a_reference_book_may_hold_the_inputs_but_nothing_made_from_the_holdout() -> None:
    book = Passage("p", f"{QUESTION} Two days.")

    assert corpus_check(book, lookup=True) == Check(
        name="holdout in the retrieval corpus",
        status="ok",
        detail="none of 1 passages is made from the holdout; as a reference book it holds 1 inputs",
        kind="data",
    )
    assert corpus_check(book, Passage("q", "else", sample_id="h"), lookup=True).status == "invalid"
