"""Win rates with ties, the judge's habits, and what length does."""

import numpy as np
import pytest

from harness.analysis.preference import preferences
from harness.stats.compare import SystemScores, compare
from harness.verification.rebuild import ScoredMetric
from tests.analysis.scores import scored

# 60 won, 20 tied, 40 lost: the rate is 58.3 %, and the sign test without ties gives p = 0.057.
POINTS = [1.0] * 60 + [0.5] * 20 + [0.0] * 40


def test_ties_are_half_and_are_left_out_of_the_sign_test():
    found = preferences("preference", scored("new", POINTS), baseline="old", extra_length=np.zeros(120))

    assert (found.wins, found.ties, found.losses, found.samples) == (60, 20, 40, 120)
    assert found.rate.value == pytest.approx(0.583333, abs=1e-6)
    assert found.p_value == pytest.approx(0.056888, abs=1e-6)
    assert found.at_equal_length.value == pytest.approx(0.583333, abs=1e-6)
    assert (found.position_bias, found.flip_rate) == (None, None)
    assert found.sentence.startswith("new is preferred to old in 58.3 % [50.2, 66.5] of the pairs (60 won, 20 tied, 40")


def test_a_preference_that_length_explains_is_gone_at_equal_length():
    generator = np.random.default_rng(3)
    extra = generator.normal(200, 100, size=400)  # the tuned answers are longer
    points = (generator.random(400) < 1 / (1 + np.exp(-extra / 150))).astype(float)

    found = preferences("preference", scored("new", points), baseline="old", extra_length=extra)

    assert found.rate.value > 0.7
    assert found.at_equal_length.value < 0.6
    assert found.at_equal_length.low < 0.5 < found.at_equal_length.high


def test_a_judge_that_takes_whatever_comes_first_is_told():
    biased = {"tuned_first": "tuned", "baseline_first": "baseline", "outcome": "disagreed"}
    steady = {"tuned_first": "tuned", "baseline_first": "tuned", "outcome": "agreed"}
    details = ((*[biased] * 6, *[steady] * 2),)

    found = preferences(
        "preference",
        scored("new", [0.5] * 6 + [1.0] * 2, details=details),
        baseline="old",
        extra_length=np.arange(8.0),
    )

    # Of 16 replies 12 + 2 name the first: 87.5 %, that is 37.5 points more than half.
    assert (found.position_bias, found.flip_rate) == (0.375, 0.75)
    assert found.sentence.endswith(
        "The judge names the answer shown first 37.5 % more often than half, and changes its mind with the order on "
        "75.0 % of the pairs."
    )


def test_ties_alone_leave_doubt():
    found = preferences("preference", scored("new", [0.5] * 40), baseline="old", extra_length=np.zeros(40))

    assert found.rate.value == 0.5
    assert found.rate.low < 0.49 < 0.51 < found.rate.high


def test_the_rate_has_the_interval_of_the_comparison_by_its_groups():
    points = np.repeat([1.0, 0.5, 1.0, 1.0, 0.0, 1.0, 0.5, 1.0, 1.0, 1.0], 4)
    groups = tuple(f"g{place // 4}" for place in range(40))
    sides = [
        SystemScores(name, tuple(map(str, range(40))), values[None], clusters=groups)
        for name, values in (("old", 1 - points), ("new", points))
    ]
    metric = ScoredMetric("preference", "higher", "%", pairs=True)
    compared = compare(metric, split="holdout", baseline=sides[0], tuned=sides[1])
    found = preferences("preference", sides[1], baseline="old", extra_length=np.zeros(40))

    assert (found.rate.low, found.rate.high) == (compared.tuned_low, compared.tuned_high)
    assert compared.tuned_low == (1 + compared.low) / 2
    assert (compared.baseline_low, compared.baseline_high) == (1 - compared.tuned_high, 1 - compared.tuned_low)
    assert "in 10 groups; 95 %; sign-flip test of groups p = " in found.sentence
