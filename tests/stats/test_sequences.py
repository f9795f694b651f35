"""Worked numbers: Waudby-Smith and others' formula, GrowthBook's fixture, and the confseq package, version 0.0.11."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.stats.intervals import Interval, paired_interval
from harness.stats.sequences import (
    asymptotic_half_width,
    asymptotic_p,
    asymptotic_sequence,
    betting_p,
    betting_sequence,
    log_mixture_ratio,
    mixing_rate,
)

differences = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1, 1, width=32))


def test_the_asymptotic_half_width() -> None:
    assert mixing_rate(500) == pytest.approx(0.125985, abs=5e-7)
    found = [asymptotic_half_width(0.4, n, planned=500) for n in (100, 500, 1000)]
    assert found == pytest.approx([0.134556, 0.054295, 0.038725], abs=1e-6)
    fixed = [1.959964 * 0.4 / math.sqrt(n) for n in (100, 500, 1000)]
    assert fixed == pytest.approx([0.0784, 0.035062, 0.024792], abs=1e-5)
    assert mixing_rate(5000) == pytest.approx(0.039840, abs=5e-7)
    assert asymptotic_half_width(0.4, 500, planned=5000) == pytest.approx(0.068961, abs=1e-6)


def test_the_relative_lift_of_growthbooks_fixture() -> None:
    (n, total, squares), (m, other, more) = (3000, 1396.87, 52377.9767), (3461, 2422.7, 134698.29)
    a, b = total / n, other / m
    first, second = (squares - total * a) / (n - 1), (more - other * b) / (m - 1)
    lift = (b - a) / a
    error = math.sqrt(second / (m * a**2) + first * b**2 / (n * a**4))  # delta method of the ratio
    spread = error * math.sqrt(n + m)
    half = asymptotic_half_width(spread, n + m, planned=1000)
    assert (lift, lift - half, lift + half) == pytest.approx((0.50336, -0.55844, 1.56516), abs=1e-5)
    assert asymptotic_p(lift, spread, n + m, planned=1000) == 1.0


def test_the_mixture_ratio() -> None:
    ratio = math.exp(log_mixture_ratio(0.05, samples=100, variance=0.09, mixing=0.01, null=-0.02))
    assert ratio == pytest.approx(3.491704, abs=1e-6)
    assert min(1.0, 1 / ratio) == pytest.approx(0.286393, abs=1e-6)


@given(st.floats(-0.5, 0.5), st.integers(30, 2000))
def test_the_asymptotic_p_and_width_decide_alike(mean: float, samples: int) -> None:
    half, p_value = asymptotic_half_width(0.4, samples, planned=500), asymptotic_p(mean, 0.4, samples, planned=500)
    assert (abs(mean) > half) == (p_value < 0.05) or abs(mean) == pytest.approx(half)


def test_large_evidence_has_a_small_p_that_is_not_0() -> None:
    assert 0 < asymptotic_p(0.5, 0.4, 400, planned=500) < 1e-100
    assert (asymptotic_p(0.0, 0.0, 50, planned=500), asymptotic_p(0.1, 0.0, 50, planned=500)) == (1.0, 0.0)


PATTERN = np.tile([0.5] * 16 + [1, 1, 0, 0.5], 25)  # 500 values of mean 0.525


def test_betting_agrees_with_confseq() -> None:
    # confseq sizes its bets for 1 / alpha, where two sides call for 2 / alpha: the same at level 0.9.
    wealth = 2 / betting_p(PATTERN - 0.5, low=-0.5, high=0.5, level=0.9)
    assert wealth[-1] == pytest.approx(34.136023612540914, rel=1e-12)
    found = betting_sequence(PATTERN, low=0, high=1)
    for samples, low, high in [(50, 0.435, 0.606), (100, 0.471, 0.581), (500, 0.499, 0.553)]:
        assert (found.at(samples).low, found.at(samples).high) == pytest.approx((low, high), abs=0.0011)


def test_betting_bounds_and_p_decide_alike() -> None:
    values = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], p=[0.05, 0.75, 0.2], size=300)
    found = betting_sequence(values, planned=300)
    for mean in (-0.1, 0.0, 0.05, 0.1):
        excluded = (found.low > mean + 0.002) | (found.high < mean - 0.002)
        p_values = betting_p(values - mean, low=-1 - mean, high=1 - mean, planned=300)
        assert (p_values[excluded] <= 0.05).all()
        inside = (found.low < mean - 0.002) & (found.high > mean + 0.002)
        assert (p_values[inside] > 0.05).all()


@given(differences)
def test_bounds_never_widen_and_swapping_the_systems_mirrors_them(values: np.ndarray) -> None:
    found, mirrored = betting_sequence(values), betting_sequence(-values)
    assert (np.diff(found.low) >= 0).all()
    assert (np.diff(found.high) <= 0).all()
    assert found.low == pytest.approx(-mirrored.high)
    assert betting_p(values) == pytest.approx(betting_p(-values))
    assert (np.diff(betting_p(values)) <= 0).all()


def test_what_is_planned_makes_the_end_tight() -> None:
    values = np.random.default_rng(2).choice([-1.0, 0.0, 1.0], p=[0.05, 0.8, 0.15], size=500)
    fixed, sized, open_ended = (
        paired_interval(values),
        betting_sequence(values, planned=500).at(500),
        betting_sequence(values).at(500),
    )
    widths = [interval.high - interval.low for interval in (fixed, sized, open_ended)]
    assert widths == sorted(widths)
    assert widths[1] < 1.8 * widths[0]


@pytest.mark.parametrize("lost", [0.02, 0.1, 0.4])
def test_looking_after_every_sample_errs_at_most_alpha(lost: float) -> None:
    generator, runs, n = np.random.default_rng(3), 700, 200
    drawn = generator.choice([-1.0, 0.0, 1.0], p=[lost, 1 - 2 * lost, lost], size=(runs, n))
    wrong = sum(float(betting_p(values, planned=n)[-1]) <= 0.05 for values in drawn)
    assert wrong / runs <= 0.05
    k = np.arange(2, n + 1)
    means = drawn.cumsum(axis=1)[:, 1:] / k
    errors = np.sqrt(np.maximum((drawn**2).cumsum(axis=1)[:, 1:] / k - means**2, 1e-12) / (k - 1))
    peeked = (np.abs(means[:, 30:]) > 1.96 * errors[:, 30:]).any(axis=1).mean()
    assert peeked > 0.12  # what a fixed-n interval does under the same looks


def test_the_asymptotic_sequence_errs_at_most_alpha() -> None:
    generator = np.random.default_rng(4)
    drawn = generator.exponential(size=(400, 400)) - 1
    wrong = sum(
        bool(((s.low > 0) | (s.high < 0)).any()) for s in (asymptotic_sequence(row, planned=400) for row in drawn)
    )
    assert wrong / 400 <= 0.07


def test_the_asymptotic_sequence_waits_for_a_spread() -> None:
    found = asymptotic_sequence(np.concatenate([np.full(40, 0.5), [0.0, 1.0]]), planned=100)
    assert found.at(2) == found.at(40) == Interval(-math.inf, math.inf)
    assert math.isfinite(found.at(42).low)
    tail = asymptotic_sequence(np.random.default_rng(5).normal(0.3, 1, 200), planned=200)
    assert tail.at(29) == Interval(-math.inf, math.inf)
    values = np.random.default_rng(5).normal(0.3, 1, 200)
    half = asymptotic_half_width(float(values.std(ddof=1)), 200, planned=200)
    assert (tail.at(200).low, tail.at(200).high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_a_value_out_of_bounds_is_named() -> None:
    with pytest.raises(ValueError, match=r"value 1 of 2 is 1.5, outside \[-1.0, 1.0\]"):
        betting_sequence(np.array([0.0, 1.5]))
