"""Planted leaks are found and named; templates, classes and clean splits are left alone."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict

import pytest

from harness.data.leakage.audit import audit, leaked_holdout_ids
from harness.types.samples import Check, Passage, Sample

# Sentences of words in random order, so that only what a test plants is alike.
WORDS = [
    f"{start}{middle}{end}" for start in ("bra", "klo", "mi", "stu") for middle in "dfgnpr" for end in ("as", "il")
]
TEXTS = [" ".join(random.Random(number).sample(WORDS, 13)) for number in range(120)]

EXACT, NORMALISED, NEAR = (f"{kind} text across splits" for kind in ("exact", "normalised", "near-duplicate"))


def samples(name: str, texts: Sequence[str], *, reference: str | None = None) -> list[Sample]:
    return [
        Sample(id=f"{name}{place}", input=text, reference=reference or f"answer {name}{place}")
        for place, text in enumerate(texts)
    ]


def clean() -> dict[str, list[Sample]]:
    return {
        "train": samples("t", TEXTS[:50]),
        "dev": samples("d", TEXTS[50:80]),
        "holdout": samples("h", TEXTS[80:]),
    }


def find(checks: Sequence[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def bad(checks: Sequence[Check]) -> dict[str, str]:
    return {check.name: check.status for check in checks if check.status != "ok"}


def test_clean_splits_pass_every_check() -> None:
    checks = audit(clean(), [Passage("p", TEXTS[0])])

    assert bad(checks) == {}
    assert [check.name for check in checks] == [
        "sample ids across splits",
        EXACT,
        NORMALISED,
        NEAR,
        "near-duplicate text with another reference",
        "groups across splits",
        "holdout in the retrieval corpus",
        "duplicates inside a split",
        "conflicting references",
        "sizes",
    ]


def test_a_holdout_row_copied_into_train_is_invalid_and_named() -> None:
    pools = clean()
    row = pools["holdout"][7]
    pools["train"].append(Sample(id="copy", input=row.input, reference=row.reference))

    checks = audit(pools)

    assert bad(checks) == {EXACT: "invalid"}
    assert find(checks, EXACT) == Check(
        name=EXACT,
        status="invalid",
        detail="1 holdout samples have the same text as one of train; first h7 (holdout) and copy (train)",
        items=(
            {
                "pool": "holdout",
                "id": "h7",
                "text": row.input,
                "other_pool": "train",
                "other_id": "copy",
                "other_text": row.input,
                "similarity": 1.0,
            },
        ),
        kind="data",
    )


def test_a_copy_with_another_reference_is_still_a_leak_and_a_conflict() -> None:
    pools = clean()
    pools["train"].append(Sample(id="copy", input=pools["holdout"][7].input, reference="else"))

    assert bad(audit(pools)) == {EXACT: "invalid", "conflicting references": "warning"}


def shouted(text: str, chance: random.Random) -> str:
    return f"  {text.upper()}!"


def punctuated(text: str, chance: random.Random) -> str:
    return text.replace(" ", ", ", chance.randrange(1, 5))


def mistyped(text: str, chance: random.Random) -> str:
    place = chance.choice([place for place, letter in enumerate(text) if letter != " "])
    letter = chance.choice("wxyz")
    return text[:place] + chance.choice([letter, "", text[place] + letter]) + text[place + 1 :]


def unspaced(text: str, chance: random.Random) -> str:
    place = chance.choice([place for place, letter in enumerate(text) if letter == " "])
    return text[:place] + text[place + 1 :]


def inserted(text: str, chance: random.Random) -> str:
    words = text.split()
    words.insert(chance.randrange(len(words) + 1), "immediately")
    return " ".join(words)


@pytest.mark.parametrize(
    ("edit", "name"),
    [(shouted, NORMALISED), (punctuated, NORMALISED), (mistyped, NEAR), (unspaced, NEAR), (inserted, NEAR)],
)
@pytest.mark.parametrize("words", [5, 12])
def test_every_lightly_edited_copy_is_found(edit: Callable[[str, random.Random], str], name: str, words: int) -> None:
    if edit is inserted and words < 12:
        words = 20
    chance = random.Random(0)
    texts = [" ".join(random.Random(number).sample(WORDS, words)) for number in range(60)]
    pools = {"train": samples("t", [edit(text, chance) for text in texts]), "holdout": samples("h", texts)}
    pools = {pool: [Sample(id=s.id, input=s.input, reference=s.id[1:]) for s in found] for pool, found in pools.items()}

    check = find(audit(pools), name)

    assert check.status == "invalid"
    assert [(item["id"], item["other_id"]) for item in check.items] == [  # type: ignore[index]
        (f"h{place}", f"t{place}") for place in range(60)
    ]


def test_templates_with_other_slot_values_are_no_leak() -> None:
    areas = ["kitchen", "bedroom", "living room", "bathroom", "garage", "office", "hallway", "attic", "cellar", "porch"]
    templates = [
        "turn on the {} light",
        "set the brightness in the {} to {} percent",
        "please set the temperature of the thermostat in the {} on the ground floor to {} degrees celsius right now",
    ]
    commands = [
        Sample(id=f"{form}/{area}/{number}", input=form.format(area, number), reference=f"{form} {area} {number}")
        for form in templates
        for area in areas
        for number in range(10, 60, 10)
        if "to {}" in form or number == 10
    ]
    random.Random(0).shuffle(commands)

    checks = audit({"train": commands[60:], "dev": commands[:25], "holdout": commands[25:60]})

    assert bad(checks) == {}


def test_another_word_in_a_short_text_is_no_leak_even_with_the_same_reference() -> None:
    pools = clean()
    pools["holdout"].append(Sample(id="h", input="turn on the kitchen light", reference="light on"))
    pools["train"].append(Sample(id="t", input="turn on the bedroom light", reference="light on"))

    assert bad(audit(pools)) == {}


def test_long_texts_that_are_nearly_the_same_but_not_in_the_reference_are_a_warning() -> None:
    pools = clean()
    article = " ".join(TEXTS[:4])
    pools["holdout"].append(Sample(id="h", input=f"{article} Who wrote it?", reference="She"))
    pools["train"].append(Sample(id="t", input=f"{article} Who read it?", reference="He"))

    checks = audit(pools)

    assert bad(checks) == {"near-duplicate text with another reference": "warning"}
    assert len(find(checks, "near-duplicate text with another reference").items) == 1


def test_overlap_of_train_and_dev_is_a_warning() -> None:
    pools = clean()
    pools["dev"].append(Sample(id="t0", input=TEXTS[0].title(), reference="answer t0", group="g"))
    pools["train"].append(Sample(id="t", input="else", reference="else", group="g"))

    assert bad(audit(pools)) == {
        "sample ids across splits": "warning",
        NORMALISED: "warning",
        "groups across splits": "warning",
    }


def test_ids_and_groups_shared_with_the_holdout_are_invalid() -> None:
    pools = clean()
    pools["holdout"].append(Sample(id="t0", input="one", reference="1", group="g"))
    pools["dev"].append(Sample(id="d", input="two", reference="2", group="g"))

    checks = audit(pools)

    assert bad(checks) == {"sample ids across splits": "invalid", "groups across splits": "invalid"}
    assert find(checks, "sample ids across splits").items == ({"id": "t0", "pool": "holdout", "other_pool": "train"},)
    assert find(checks, "groups across splits").detail == "1 groups of holdout are also in dev; first 'g'"


def test_repeats_inside_a_split_are_counted() -> None:
    pools = clean()
    pools["holdout"] += [Sample(id=f"again{n}", input=TEXTS[80].upper(), reference="answer h0") for n in range(2)]

    check = find(audit(pools), "duplicates inside a split")

    assert check.status == "warning"
    assert check.detail == (
        "repeated texts: 2 in holdout; the 42 holdout samples are 40 inputs, and equal inputs are one cluster in every "
        "interval and test"
    )
    assert check.items == ({"pool": "holdout", "ids": ["h0", "again0", "again1"], "text": TEXTS[80]},)


def test_small_splits_are_advised_upon() -> None:
    check = find(audit({"train": samples("t", TEXTS[:9]), "holdout": samples("h", TEXTS[9:38])}), "sizes")

    assert check.status == "warning"
    assert check.detail == (
        "9 train, 0 dev, 29 holdout samples; fewer than 30 holdout samples can tell only a very large gain from luck; "
        "without dev samples nothing can be chosen before the holdout is opened; "
        "tuning on fewer than 10 train samples seldom helps; an effect usually shows from 50 to 100"
    )


def test_every_pair_is_listed_and_the_texts_of_a_hundred_are_kept_and_cut() -> None:
    texts = [f"{number} " + "x" * 300 for number in range(150)]

    checks = audit({"train": samples("t", texts), "holdout": samples("h", texts)})

    check = find(checks, EXACT)
    assert check.detail.startswith("150 holdout samples have the same text")
    assert len(check.items) == 150
    assert len(check.items[99]["text"]) == 200  # type: ignore[index]
    assert check.items[149] == {"pool": "holdout", "id": "h149", "other_pool": "train", "other_id": "t149"}
    assert leaked_holdout_ids(checks) == {f"h{place}" for place in range(150)}


def test_the_leaked_ids_are_those_of_the_holdout_in_every_kind_of_leak() -> None:
    pools = clean()
    holdout = pools["holdout"]
    pools["train"] += [
        Sample(id="x", input=holdout[0].input, reference="else"),
        Sample(id="y", input=holdout[1].input.upper(), reference="else"),
        Sample(id="z", input=f"Please, {holdout[2].input}", reference=holdout[2].reference),
        Sample(id="h3", input="quite another", reference="else"),
    ]
    pools["holdout"] += [Sample(id=f"g{n}", input=f"of a group {WORDS[n]}", reference="g", group="g") for n in range(3)]
    pools["dev"].append(Sample(id="of the group", input="of the same document", reference="g", group="g"))
    pools["dev"].append(Sample(id="copy", input=pools["train"][0].input, reference="of train, not of the holdout"))
    passages = [Passage("p", "made of it", sample_id="h4"), Passage("q", "of the group", group="g")]

    checks = audit(pools, passages)
    stored = [Check(**json.loads(json.dumps(asdict(check)))) for check in checks]

    assert leaked_holdout_ids(checks) == {"h0", "h1", "h2", "h3", "h4", "g0", "g1", "g2"}
    assert leaked_holdout_ids(stored) == leaked_holdout_ids(checks)
    assert leaked_holdout_ids(audit(clean())) == frozenset()
    assert {check.kind for check in checks} == {"data"}


def test_empty_pools_and_empty_texts_are_survived() -> None:
    assert bad(audit({})) == {"sizes": "warning"}
    pools = clean()
    pools["train"].append(Sample(id="e", input="", reference="a"))
    pools["holdout"].append(Sample(id="f", input="\ud800 ?", reference="a"))
    assert bad(audit(pools)) == {}
