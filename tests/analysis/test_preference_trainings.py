"""What several seeds say."""

import numpy as np
import pytest

from harness.analysis.preference import trainings
from harness.errors import Incomparable
from tests.analysis.scores import Loss, Right, scored


def test_one_lucky_training_of_three_is_no_promise_of_the_next():
    base = scored("old", [0.0] * 50 + [1.0] * 50)
    lucky = [[1.0] * 100, [0.0] * 48 + [1.0] * 52, [0.0] * 52 + [1.0] * 48]

    found = trainings(Right(), baseline=base, tuned=scored("new", lucky), unit="%")

    assert (found.seeds, found.samples, found.won) == (3, 100, 2)
    assert found.over_samples.value == pytest.approx(0.5 / 3)
    assert found.over_seeds.low < 0 < found.over_seeds.high
    assert found.seed_share > 0.9
    assert 0.5 < found.next_wins < 0.8
    assert found.sentence.startswith("2 of 3 trainings beat the baseline in right: +16.7 pts")


def test_lower_is_better_counts_falls_as_wins():
    generator = np.random.default_rng(0)
    base = generator.normal(2, 0.1, 40)
    found = trainings(
        Loss(), baseline=scored("old", base), tuned=scored("new", [base - 0.5, base - 0.51, base - 0.49]), unit=""
    )

    assert found.won == 3
    assert found.next_wins > 0.99
    assert found.over_both.high < 0


def test_a_single_training_says_nothing_of_the_next():
    with pytest.raises(Incomparable, match="two seeds"):
        trainings(Right(), baseline=scored("old", [0.0, 1.0]), tuned=scored("new", [1.0, 1.0]), unit="%")
