import math

import numpy as np
import pytest

from harness.analysis.recipe_ranking import TrainedRecipe, ladder
from harness.errors import Incomparable
from tests.analysis.scores import Loss, Right, scored


def recipe(
    name: str, share: float, *, examples: int = 1000, tokens: int = 50_000, seconds: float = 60.0
) -> TrainedRecipe:
    right = np.arange(200) < 200 * share
    return TrainedRecipe(scores=scored(name, right.astype(float)), examples=examples, tokens=tokens, seconds=seconds)


def test_the_best_recipe_stands_first_and_the_others_are_the_cost_of_choosing():
    found = ladder(
        Right(),
        recipes=[recipe("lora 8", 0.6), recipe("lora 16", 0.7, seconds=70), recipe("full", 0.5, tokens=1000)],
        chosen="lora 16",
    )
    assert [(rung.system, rung.mean.value, rung.chosen) for rung in found.rungs] == [
        ("lora 16", 0.7, True),
        ("lora 8", 0.6, False),
        ("full", 0.5, False),
    ]
    assert (found.choosing_seconds, found.choosing_tokens) == (120.0, 51_000)
    assert (found.equal_budget, found.budget_ratio, found.optimism) == (True, 1.0, None)
    assert "right on DEV, 3 recipes at an equal budget: lora 16 70.0 % [" in found.sentence
    assert "Training those that were not chosen cost 120 s and 51,000 tokens." in found.sentence


def test_of_many_recipes_the_sentence_names_the_best_and_the_last():
    recipes = [recipe(f"r{place}", 0.9 - place / 20) for place in range(9)]
    sentence = ladder(Right(), recipes=recipes, chosen="r0").sentence
    assert [f"r{place} " in sentence for place in range(9)] == [True] * 5 + [False] * 3 + [True]
    assert ", ... r8 50.0 % [" in sentence


def test_budgets_a_tenth_apart_are_equal_and_more_are_not():
    near = ladder(Right(), recipes=[recipe("a", 0.6, examples=1100), recipe("b", 0.5)], chosen="a")
    far = ladder(Right(), recipes=[recipe("a", 0.6, examples=2500), recipe("b", 0.5)], chosen="a")
    none = ladder(Right(), recipes=[recipe("a", 0.6), recipe("b", 0.5, examples=0)], chosen="a")
    assert (near.equal_budget, far.equal_budget, far.budget_ratio) == (True, False, 2.5)
    assert math.isinf(none.budget_ratio)
    assert "at budgets 2.5 to 1 apart" in far.sentence


def test_the_winner_of_many_equal_recipes_was_lucky_on_dev():
    generator = np.random.default_rng(1)
    flattered = []
    for _ in range(100):
        dev = (generator.random((8, 200)) < 0.6).astype(float)
        recipes = [TrainedRecipe(scores=scored(f"r{k}", dev[k]), examples=1, tokens=1, seconds=1.0) for k in range(8)]
        best = int(dev.mean(axis=1).argmax())
        holdout = scored(f"r{best}", (generator.random(200) < 0.6).astype(float))
        found = ladder(Right(), recipes=recipes, chosen=f"r{best}", holdout=holdout).optimism
        assert found is not None
        flattered.append(found.value)
    # The best of 8 means with a standard error of 0.035 lies 1.42 of those above the truth.
    assert np.mean(flattered) == pytest.approx(0.049, abs=0.015)


def test_optimism_of_one_recipe_covers_zero():
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        dev, holdout = (generator.random(150) < 0.8).astype(float), (generator.random(300) < 0.8).astype(float)
        only = TrainedRecipe(scores=scored("r", dev), examples=1, tokens=1, seconds=1.0)
        found = ladder(Right(), recipes=[only], chosen="r", holdout=scored("r", holdout)).optimism
        assert found is not None
        covered += found.low <= 0 <= found.high
    assert 182 <= covered <= 200  # 95 % of 200, three Monte Carlo errors


def test_lower_is_better_ranks_and_flatters_the_other_way():
    low, high = (
        TrainedRecipe(scores=scored(n, np.full(50, v)), examples=1, tokens=1, seconds=1.0)
        for n, v in (("l", 1.0), ("h", 2.0))
    )
    found = ladder(Loss(), recipes=[high, low], chosen="l", holdout=scored("l", np.full(60, 1.5)))
    assert [rung.system for rung in found.rungs] == ["l", "h"]
    assert found.optimism is not None
    assert found.optimism.value == 0.5


@pytest.mark.parametrize(
    ("dev", "holdout", "said"),
    [
        (0.9, 0.5, "DEV flattered it by +40.0 pts ["),
        (0.5, 0.9, "DEV did not flatter it: -40.0 pts ["),
        (0.6, 0.6, "whether DEV flattered it cannot be told: +0.0 pts [-"),
    ],
)
def test_dev_is_said_to_have_flattered_only_what_its_interval_shows(dev: float, holdout: float, said: str):
    recipes = [
        TrainedRecipe(scores=scored(name, np.arange(100) < 100 * share), examples=1, tokens=1, seconds=1.0)
        for name, share in (("a", dev), ("b", 0.1))
    ]
    found = ladder(Right(), recipes=recipes, chosen="a", holdout=scored("a", np.arange(100) < 100 * holdout))
    assert said in found.sentence


def test_unknown_winner_and_other_samples_are_refused():
    with pytest.raises(Incomparable, match="c was chosen, which is none of a, b"):
        ladder(Right(), recipes=[recipe("a", 0.5), recipe("b", 0.5)], chosen="c")
    short = TrainedRecipe(scores=scored("b", [1.0]), examples=1, tokens=1, seconds=1.0)
    with pytest.raises(Incomparable, match="a and b were scored on different samples"):
        ladder(Right(), recipes=[recipe("a", 0.5), short], chosen="a")


def test_each_recipe_has_its_own_gain_over_the_best_baseline():
    baseline = scored("8-shot", (np.arange(200) < 100).astype(float))
    found = ladder(Right(), recipes=[recipe("a", 0.6), recipe("b", 0.5)], chosen="a", baseline=baseline)

    gains = [rung.gain for rung in found.rungs]
    assert found.baseline == "8-shot"
    assert [gain and round(gain.value, 6) for gain in gains] == [0.1, 0.0]
    assert gains[0] is not None
    assert 0 < gains[0].low < 0.1 < gains[0].high < 0.16
