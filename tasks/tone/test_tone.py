"""The task's data: real confirmations in two voices, and rules that tell the voices apart."""

import pytest

from harness.types.samples import Answer, Sample, Split
from tasks.tone import Confirms, Tone, ToneReplies

ASKED = Sample(
    id="a", input="lights off", reference="Gladly. Turned off the lights.", tags={"fact": "Turned off the lights"}
)


def answered(text: str) -> Answer:
    return Answer(sample_id="a", text=text)


def test_splits_are_those_of_the_commands_and_share_no_group() -> None:
    samples = {split: ToneReplies().samples(split) for split in Split}

    assert {split.value: len(found) for split, found in samples.items()} == {"train": 351, "dev": 29, "holdout": 113}
    groups = [{sample.group for sample in found} for found in samples.values()]
    assert len(groups[0] | groups[1] | groups[2]) == sum(map(len, groups))


def test_the_kind_reply_keeps_every_rule_and_the_other_at_most_half() -> None:
    tone = Tone()
    for split in Split:
        for sample in ToneReplies().samples(split):
            assert sample.rejected is not None
            assert tone.score(sample, answered(sample.reference)).value == 1.0
            assert tone.score(sample, answered(sample.rejected)).value <= 0.75
            assert Confirms().score(sample, answered(sample.reference)).value == 1.0
            assert Confirms().score(sample, answered(sample.rejected)).value == 1.0


def test_the_words_of_the_fact_are_home_assistants() -> None:
    found = {sample.input: sample.reference for sample in ToneReplies().samples(Split.TRAIN)}

    assert found["turn off our ground light"].endswith(". Turned off the lights.")
    assert found["my attic to brown"].endswith(". Color set.")


@pytest.mark.parametrize(
    ("text", "score", "broken"),
    [
        ("Of course. The lights are turned off.", 1.0, []),
        ("The lights are turned off.", 0.75, ["courteous"]),
        ("Ugh, done. Stop bothering me.", 0.5, ["courteous", "kind"]),
        (
            "I'm sorry, I cannot do that, as an AI I have no lights and no hands, and none of it.",
            0.25,
            ["courteous", "short", "plain"],
        ),
        (" ", 0.0, ["says nothing"]),
    ],
)
def test_tone_names_the_rules_that_are_broken(text: str, score: float, broken: list[str]) -> None:
    found = Tone().score(ASKED, answered(text))

    assert (found.value, found.detail) == (score, broken)


def test_a_kind_answer_that_confirms_nothing_scores_nothing() -> None:
    assert Confirms().score(ASKED, answered("Certainly. With pleasure.")).value == 0
    assert Confirms().score(ASKED, answered("The lights are turned on.")).value == 1.0  # by words, not by meaning
