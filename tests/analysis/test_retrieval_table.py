import json
from dataclasses import asdict

import numpy as np
import pytest

from harness.analysis.estimate import contrast
from harness.analysis.retrieval_table import FourWay, four_way
from harness.errors import Incomparable
from harness.metrics.macro_f1 import MacroF1
from harness.stats.compare import compare
from tests.analysis.scores import Loss, Right, scored

COUNT = 500


def table(base: float, base_rag: float, tuned: float, tuned_rag: float, seed: int = 0) -> FourWay:
    luck = np.random.default_rng(seed).random(COUNT)
    shares = {"base": base, "base_rag": base_rag, "tuned": tuned, "tuned_rag": tuned_rag}
    return four_way(Right(), **{name: scored(name, (luck < share).astype(float)) for name, share in shares.items()})


def test_effects_that_add_up():
    found = table(0.3, 0.45, 0.5, 0.65)
    assert found.relation == "add up"
    assert found.interaction.low <= 0 <= found.interaction.high
    assert found.tuning.value == pytest.approx(0.2, abs=0.03)
    assert found.both.value == pytest.approx(found.tuning.value + found.retrieval.value + found.interaction.value)
    assert found.added.value == pytest.approx(found.both.value - found.tuning.value)
    assert [(cell.system, cell.tuned, cell.retrieval) for cell in found.cells] == [
        ("base", False, False),
        ("base_rag", False, True),
        ("tuned", True, False),
        ("tuned_rag", True, True),
    ]


def test_effects_that_overlap_and_effects_that_reinforce():
    overlap = table(0.3, 0.6, 0.6, 0.62)
    assert (overlap.relation, overlap.interaction.high < 0) == ("overlap", True)
    assert overlap.sentence.endswith("together they bring less than their sum, so they overlap.")
    reinforce = table(0.3, 0.35, 0.35, 0.8)
    assert (reinforce.relation, reinforce.interaction.low > 0) == ("reinforce", True)


def test_where_nothing_works_there_is_nothing_to_add():
    assert table(0.5, 0.5, 0.5, 0.5).relation == "unclear"


def test_lower_is_better_turns_the_words_round():
    generator = np.random.default_rng(3)
    loss = {
        name: scored(name, mean + generator.normal(0, 0.1, 200))
        for name, mean in (("base", 2.0), ("base_rag", 1.0), ("tuned", 1.0), ("tuned_rag", 0.9))
    }
    found = four_way(Loss(), **loss)
    assert (found.relation, found.interaction.low > 0) == ("overlap", True)


def test_an_effect_is_the_paired_comparison():
    generator = np.random.default_rng(4)
    before, after = (generator.random((2, 300)) < 0.5).astype(float)
    sides = scored("b", before), scored("t", after)
    found = compare(Right(), split="dev", baseline=sides[0], tuned=sides[1])
    mine = contrast(Right(), [(1, sides[1]), (-1, sides[0])], split="dev", unit="%", level=0.95)
    assert mine.value == pytest.approx(found.difference)
    assert (mine.low, mine.high) == pytest.approx((found.low, found.high), abs=0.005)


def test_seeds_are_summed_one_by_one():
    generator = np.random.default_rng(5)
    base = (generator.random((1, 200)) < 0.5).astype(float)
    seeds = (generator.random((3, 200)) < 0.6).astype(float)
    found = contrast(Right(), [(1, scored("a", seeds)), (-1, scored("b", seeds))], split="dev", unit="%", level=0.95)
    assert found.value == 0.0
    mixed = contrast(Right(), [(1, scored("a", seeds)), (-1, scored("b", base))], split="dev", unit="%", level=0.95)
    assert mixed.value == pytest.approx(seeds.mean() - base.mean())


def test_a_metric_of_the_whole_set_is_recomputed():
    labels = ["a", "b"] * 50

    def said(wrong: int) -> object:
        row = tuple([label, "a" if place < wrong else label] for place, label in enumerate(labels))
        return scored(f"w{wrong}", [float(a == b) for a, b in row], details=(row,))

    found = four_way(MacroF1(), base=said(80), base_rag=said(40), tuned=said(40), tuned_rag=said(0))
    assert found.both.value == pytest.approx(found.cells[3].mean.value - found.cells[0].mean.value)
    assert found.both.low <= found.both.value <= found.both.high
    assert json.loads(json.dumps(asdict(found)))["relation"] == found.relation


def test_other_samples_are_refused():
    one, two = scored("a", [1.0, 0.0]), scored("b", [1.0])
    with pytest.raises(Incomparable, match="b and a were scored on different samples"):
        four_way(Right(), base=one, base_rag=two, tuned=one, tuned_rag=one)
