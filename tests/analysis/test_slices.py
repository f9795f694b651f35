import numpy as np
import pytest
from scipy.stats import false_discovery_control

from harness.analysis.slices import Slice, clean_subset, slices
from harness.errors import Incomparable
from harness.metrics.macro_f1 import MacroF1
from harness.stats.compare import compare
from harness.types.samples import Sample
from tests.analysis.scores import Right, scored


def samples(count: int, **fields: object) -> list[Sample]:
    """fields: a function of the place, or one value for all."""
    made = []
    for place in range(count):
        given = {name: value(place) if callable(value) else value for name, value in fields.items()}
        made.append(Sample(**{"id": f"s{place}", "input": "same words", "reference": f"r{place}", **given}))
    return made


def test_a_planted_loss_on_one_tag_is_found_and_the_rest_is_not():
    generator = np.random.default_rng(5)
    hard = np.arange(300) % 3 == 0
    before = (generator.random(300) < 0.6).astype(float)
    after = np.where(hard, 0.0, before)
    made = samples(300, tags=lambda place: {"level": "hard" if place % 3 == 0 else "easy"})

    found = slices(Right(), baseline=scored("base", before), tuned=scored("tuned", after), samples=made)

    assert [(part.dimension, part.value, part.samples, part.position) for part in found] == [
        ("tag: level", "easy", 200, 0),
        ("tag: level", "hard", 100, 1),
    ]
    easy, hurt = found
    assert (easy.difference, easy.p_value, easy.q_value) == (0.0, 1.0, 1.0)
    assert hurt.difference == pytest.approx(-before[hard].mean())
    assert hurt.high is not None
    assert hurt.high < 0
    assert hurt.q_value is not None
    assert hurt.q_value < 1e-6


def test_a_tested_slice_is_the_comparison_of_its_samples():
    generator = np.random.default_rng(1)
    before, after = (generator.random(60) < 0.5).astype(float), (generator.random(60) < 0.7).astype(float)
    made = samples(60, tags=lambda place: {"half": "first" if place < 30 else "second"})

    part = slices(Right(), baseline=scored("b", before), tuned=scored("t", after), samples=made)[0]
    alone = compare(Right(), split="holdout", baseline=scored("b", before[:30]), tuned=scored("t", after[:30]))

    assert (part.low, part.high, part.p_value) == (alone.low, alone.high, alone.p_value)
    assert (part.baseline_mean, part.tuned_mean) == (alone.baseline_mean, alone.tuned_mean)


def test_fewer_than_ten_samples_are_counted_and_not_tested():
    made = samples(40, tags=lambda place: {"rare": "yes"} if place < 9 else {})
    found = slices(Right(), baseline=scored("b", [0.0] * 40), tuned=scored("t", [1.0] * 40), samples=made)

    assert [(part.value, part.samples, part.low is None, part.q_value is None) for part in found] == [
        ("(none)", 31, False, False),
        ("yes", 9, True, True),
    ]
    assert (found[1].baseline_mean, found[1].tuned_mean, found[1].difference) == (0.0, 1.0, 1.0)


def test_q_values_are_benjamini_hochberg_over_every_tested_slice():
    generator = np.random.default_rng(3)
    made = samples(
        240,
        input=lambda place: "word " * (1 + place % 12),
        reference=lambda place: "abcd"[place % 4],
        tags=lambda place: {"source": str(place % 5), "few": "x" if place < 5 else "y"},
    )
    before, after = (generator.random(240) < 0.4).astype(float), (generator.random(240) < 0.55).astype(float)
    found = slices(Right(), baseline=scored("b", before), tuned=scored("t", after), samples=made)

    tested = [part for part in found if part.p_value is not None]
    assert {part.dimension for part in found} == {"tag: few", "tag: source", "length", "label"}
    assert len(tested) == len(found) - 1
    assert [part.q_value for part in tested] == pytest.approx(false_discovery_control([p.p_value for p in tested]))


def test_length_is_parted_in_thirds_of_words_and_equal_lengths_stay_together():
    made = samples(30, input=lambda place: "w " * (place + 1))
    found = slices(Right(), baseline=scored("b", [0.0] * 30), tuned=scored("t", [0.0] * 30), samples=made)
    assert [(part.value, part.samples) for part in found] == [
        ("up to 10 words", 10),
        ("11 to 20 words", 10),
        ("21 words or more", 10),
    ]

    lopsided = samples(30, input=lambda place: "w" if place < 25 else "w w")
    found = slices(Right(), baseline=scored("b", [0.0] * 30), tuned=scored("t", [0.0] * 30), samples=lopsided)
    assert [(part.value, part.samples) for part in found] == [("up to 1 word", 25), ("2 words or more", 5)]


def test_chinese_is_counted_by_signs():
    made = samples(20, input=lambda place: "打开灯" if place < 10 else "请打开客厅的灯")
    found = slices(Right(), baseline=scored("b", [0.0] * 20), tuned=scored("t", [0.0] * 20), samples=made)
    assert [part.value for part in found] == ["up to 3 words", "4 words or more"]


def test_language_comes_from_the_tag_then_the_caller_then_the_text():
    english, chinese = "How long does a transfer to my savings account take?", "转账需要多长时间"
    tagged = samples(20, tags=lambda place: {"language": "de" if place % 2 else "fr"})
    written = samples(20, input=lambda place: english if place % 2 else chinese)
    zeros = {"baseline": scored("b", [0.0] * 20), "tuned": scored("t", [0.0] * 20)}

    def values(found: tuple[Slice, ...]) -> list[str]:
        return [part.value for part in found if part.dimension == "language"]

    assert values(slices(Right(), **zeros, samples=tagged, language_of=lambda text: "xx")) == ["de", "fr"]
    assert values(slices(Right(), **zeros, samples=written)) == ["en", "zh"]
    told = slices(Right(), **zeros, samples=written, language_of=lambda text: "zh" if text == chinese else None)
    assert values(told) == ["und", "zh"]


def test_labels_are_those_that_were_read_and_free_text_has_none():
    labelled = samples(40, expected=lambda place: {"on": place % 2 == 0})
    zeros = {"baseline": scored("b", [0.0] * 40), "tuned": scored("t", [0.0] * 40)}
    found = slices(Right(), **zeros, samples=labelled)
    assert [(part.dimension, part.value) for part in found] == [("label", '{"on":false}'), ("label", '{"on":true}')]
    assert slices(Right(), **zeros, samples=samples(40)) == ()


def test_a_metric_of_the_whole_set_is_recomputed_on_each_slice():
    labels, wrong = ["a", "b"] * 20, ["a", "a"] * 20
    right = tuple([label, label] for label in labels)
    half = tuple([label, said] for label, said in zip(labels, wrong, strict=True))
    made = samples(40, tags=lambda place: {"part": "small" if place < 8 else "large"})
    found = slices(
        MacroF1(),
        baseline=scored("b", [float(a == b) for a, b in half], details=(half,)),
        tuned=scored("t", [1.0] * 40, details=(right,)),
        samples=made,
    )
    assert [(part.value, part.baseline_mean, part.tuned_mean) for part in found] == [
        ("large", pytest.approx(1 / 3), 1.0),
        ("small", pytest.approx(1 / 3), 1.0),
    ]


def test_other_samples_than_those_scored_are_refused():
    zeros = {"baseline": scored("b", [0.0] * 4), "tuned": scored("t", [0.0] * 4)}
    with pytest.raises(Incomparable, match="right: b was scored on other samples"):
        slices(Right(), **zeros, samples=list(reversed(samples(4))))


def test_the_clean_subset_leaves_the_leaked_samples_out():
    before, after = [0.0] * 40, [1.0] * 15 + [0.0] * 25
    sides = {"baseline": scored("b", before), "tuned": scored("t", after)}
    leaked = frozenset(f"s{place}" for place in range(15))

    clean, everything = clean_subset(Right(), **sides, leaked=leaked)

    assert (clean.dimension, clean.value, clean.samples, clean.difference, clean.q_value) == (
        "leakage",
        "clean",
        25,
        0.0,
        None,
    )
    assert (everything.value, everything.samples, everything.difference) == ("all", 40, 0.375)
    assert clean_subset(Right(), **sides, leaked=frozenset({"elsewhere"})) == ()
    assert [part.value for part in clean_subset(Right(), **sides, leaked=frozenset(f"s{n}" for n in range(40)))] == [
        "all"
    ]
