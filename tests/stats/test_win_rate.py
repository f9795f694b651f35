"""Worked numbers: 60 wins, 20 ties, 40 losses."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.paired_tests import wilson_interval
from harness.stats.win_rate import BothOrders, both_orders, length_controlled, win_rate

POINTS = np.array([1.0] * 60 + [0.5] * 20 + [0.0] * 40)


def test_the_win_rate_with_ties() -> None:
    found = win_rate(POINTS)
    assert (found.rate, found.error) == pytest.approx((0.583333, 0.041138), abs=1e-6)
    assert (found.wins, found.ties, found.losses) == (60, 20, 40)
    normal = (found.rate - 1.959964 * found.error, found.rate + 1.959964 * found.error)
    assert normal == pytest.approx((0.5027, 0.6640), abs=5e-5)
    assert found.interval.low < normal[0] < normal[1] < found.interval.high  # t, with 119 degrees of freedom


def test_near_the_limit_the_interval_with_ties_and_the_test_without_disagree_and_the_interval_decides() -> None:
    found, without_ties = win_rate(POINTS), wilson_interval(0.6, 100)
    assert found.p_value == pytest.approx(0.056888, abs=1e-6)
    assert (without_ties.low, without_ties.high) == pytest.approx((0.5020, 0.6906), abs=5e-5)
    assert found.interval.low > 0.5


def test_judgements_of_one_prompt_are_no_new_prompts() -> None:
    thrice, prompts = np.repeat(POINTS, 3), np.repeat(np.arange(120), 3)
    clustered, naive, once = win_rate(thrice, prompts), win_rate(thrice), win_rate(POINTS)
    assert clustered.error == pytest.approx(once.error)
    assert naive.error < 0.6 * once.error


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=40))
def test_swapping_the_systems_mirrors_the_win_rate(points: list[float]) -> None:
    forth, back = win_rate(np.array(points)), win_rate(1 - np.array(points))
    assert forth.rate == pytest.approx(1 - back.rate)
    assert forth.interval.low == pytest.approx(1 - back.interval.high)
    assert (forth.p_value, forth.wins) == (back.p_value, back.losses)


def test_ties_leave_the_sign_test_as_it_is() -> None:
    assert win_rate(np.append(POINTS, [0.5] * 50)).p_value == win_rate(POINTS).p_value


def test_points_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="1 for a win"):
        win_rate(np.array([1.0, 2.0]))


def test_only_what_both_orders_say_counts_as_a_win() -> None:
    found = both_orders(np.array([1.0, 1.0, 0.0, 0.5]), np.array([1.0, 0.0, 0.0, 1.0]))
    assert found.points.tolist() == [1.0, 0.5, 0.0, 0.5]
    assert (found.flip_rate, found.position_bias) == (0.5, 0.0625)


def test_a_judge_that_always_takes_the_first_is_all_bias_and_no_preference() -> None:
    found = both_orders(np.ones(20), np.zeros(20))
    assert (found.position_bias, found.flip_rate) == (0.5, 1.0)
    assert win_rate(found.points).rate == 0.5
    # One order alone, even drawn at random, would call the bias noise and show half the flips as wins.
    assert isinstance(found, BothOrders)


def test_pairs_judged_in_one_order_are_refused() -> None:
    with pytest.raises(ValueError, match="3 pairs in one order and 2 in the other"):
        both_orders(np.ones(3), np.ones(2))


def judged(bonus: float, effect: float, extra: np.ndarray, seed: int) -> np.ndarray:
    chance = 1 / (1 + np.exp(-(bonus + effect * np.tanh(extra / extra.std(ddof=1)))))
    return (np.random.default_rng(seed).random(extra.size) < chance).astype(float)


def test_a_judge_that_likes_length_is_seen_through() -> None:
    extra = np.random.default_rng(1).normal(60, 50, size=1500)
    points = judged(0.0, 1.5, extra, seed=2)
    plain, found = win_rate(points), length_controlled(points, extra)
    assert plain.interval.low > 0.6
    assert 0.5 in found.interval
    assert found.length_effect == pytest.approx(1.5, abs=0.4)


def test_a_better_answer_stays_better_at_equal_length() -> None:
    extra = np.random.default_rng(3).normal(0, 50, size=1500)
    found = length_controlled(judged(0.8, 1.0, extra, seed=4), extra)
    assert found.rate == pytest.approx(1 / (1 + math.exp(-0.8)), abs=0.04)
    assert found.interval.low > 0.6


def test_the_length_controlled_interval_covers() -> None:
    extra = np.random.default_rng(5).normal(20, 50, size=300)
    truth = 1 / (1 + math.exp(-0.3))
    covered = sum(truth in length_controlled(judged(0.3, 1.0, extra, seed), extra).interval for seed in range(150))
    assert 0.90 <= covered / 150 <= 0.99


def test_repeated_judgements_widen_the_length_controlled_interval_back() -> None:
    extra = np.random.default_rng(6).normal(20, 50, size=200)
    points, prompts = judged(0.3, 1.0, extra, seed=7), np.repeat(np.arange(200), 3)
    once = length_controlled(points, extra).interval
    thrice = length_controlled(np.repeat(points, 3), np.repeat(extra, 3), prompts).interval
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.02)


@pytest.mark.parametrize(("points", "extra"), [([1.0] * 8, range(8)), ([1.0, 0.0] * 4, [3] * 8)])
def test_where_length_explains_nothing_the_rate_is_the_plain_one(points: list[float], extra: object) -> None:
    found, rate = length_controlled(np.array(points), np.array(extra, dtype=float)), float(np.mean(points))
    assert (found.rate, found.interval, found.length_effect) == (rate, wilson_interval(rate, 8), 0.0)


def test_length_that_tells_every_win_from_every_loss_leaves_all_open_without_a_warning():
    extra = np.array([-40.0, -30.0, -20.0, -10.0, 10.0, 20.0, 30.0, 40.0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = length_controlled((extra > 0).astype(float), extra)

    assert found.interval.low <= found.rate <= found.interval.high
