"""Worked numbers are those of scipy.stats.ttest_rel and of the published cluster-robust formulas."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.stats.intervals import (
    Interval,
    clustered_freedom,
    clustered_interval,
    jackknife_error,
    paired_interval,
    seed_interval,
    seed_p,
    standard_error,
)
from harness.stats.paired_tests import paired_p

TUNED = np.array([1, 1, 0, 1, 0, 1, 1, 0, 1, 1], dtype=float)
BASELINE = np.array([1, 0, 0, 1, 0, 0, 1, 0, 0, 1], dtype=float)
CLUSTERED = np.array([1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1], dtype=float)
FOUR_OF_THREE = np.repeat(np.arange(4), 3)

differences = arrays(np.float64, st.integers(2, 40), elements=st.floats(-1, 1, width=32))


def test_the_paired_interval_is_that_of_the_paired_t_test() -> None:
    gains = TUNED - BASELINE
    assert gains.mean() == pytest.approx(0.3)
    assert standard_error(gains) == pytest.approx(0.152752523, abs=1e-9)
    assert gains.mean() / standard_error(gains) == pytest.approx(1.963961012, abs=1e-9)
    assert paired_p(gains) == pytest.approx(0.081126188, abs=1e-9)
    interval = paired_interval(gains)
    assert (interval.low, interval.high) == pytest.approx((0.3 - 2.262157 * 0.152752523, 0.3 + 2.262157 * 0.152752523))


def test_pairing_removes_what_the_samples_share() -> None:
    unpaired = math.hypot(standard_error(TUNED), standard_error(BASELINE))
    shared = float(np.corrcoef(TUNED, BASELINE)[0, 1])
    assert (unpaired, shared) == pytest.approx((0.223606798, 0.534522484), abs=1e-9)
    covariance = float(np.cov(TUNED, BASELINE)[0, 1])
    assert standard_error(TUNED - BASELINE) == pytest.approx(math.sqrt(unpaired**2 - 2 * covariance / TUNED.size))


def test_the_clustered_error_is_the_one_with_the_small_sample_factor() -> None:
    error = jackknife_error(CLUSTERED, FOUR_OF_THREE)
    assert CLUSTERED.mean() == pytest.approx(0.583333, abs=1e-6)
    assert standard_error(CLUSTERED) == pytest.approx(0.148647098, abs=1e-9)
    assert error == pytest.approx(0.209717623, abs=1e-9)
    # Two other forms in use give other numbers on the same data: without the factor, and with the iid error inside.
    assert error * math.sqrt(3 / 4) == pytest.approx(0.181620789, abs=1e-9)
    squared_sums = (error * 12) ** 2 * 3 / 4
    mixed = standard_error(CLUSTERED) ** 2 + (squared_sums - CLUSTERED.var() * 12) / 144
    assert math.sqrt(mixed) == pytest.approx(0.186621116, abs=1e-9)


def test_the_clustered_interval_has_one_degree_of_freedom_less_than_clusters() -> None:
    interval = clustered_interval(CLUSTERED, FOUR_OF_THREE)
    half = 3.182446305 * 0.209717623
    assert (interval.low, interval.high) == pytest.approx((7 / 12 - half, 7 / 12 + half))


def test_for_clusters_of_one_size_the_jackknife_is_the_usual_formula() -> None:
    assert clustered_freedom(FOUR_OF_THREE) == pytest.approx(3)
    assert clustered_freedom(np.repeat([0, 1], [99, 1])) == 0.5
    assert jackknife_error(CLUSTERED, np.zeros(12, dtype=np.int64)) == math.inf


def test_a_dominating_cluster_is_not_taken_for_one_of_many() -> None:
    generator, sizes = np.random.default_rng(8), [100] + [5] * 11
    groups, held, usual = np.repeat(np.arange(12), sizes), 0, 0
    for _ in range(600):
        scores = 0.15 * generator.normal(size=12)[groups] + 0.55 * generator.normal(size=155)
        held += 0.0 in clustered_interval(scores, groups)
        sums = np.bincount(groups, weights=scores - scores.mean())
        sandwich = math.sqrt(sums @ sums * 12 / 11) / 155
        usual += abs(scores.mean()) <= 2.201 * sandwich  # t with 11 degrees of freedom
    assert usual / 600 < 0.75
    assert held / 600 >= 0.95
    assert clustered_freedom(groups) == pytest.approx(155**2 / (100**2 + 11 * 25) - 1)


def test_clustered_intervals_cover_where_naive_ones_do_not() -> None:
    generator = np.random.default_rng(3)
    passages = np.repeat(np.arange(30), 10)
    covered = naive = 0
    for _ in range(1500):
        scores = np.repeat(generator.normal(size=30), 10) * 0.55 + generator.normal(size=300)
        covered += 0.0 in clustered_interval(scores, passages)
        naive += 0.0 in paired_interval(scores)
    assert 0.93 <= covered / 1500 <= 0.97
    assert naive / 1500 < 0.80


def test_two_identical_systems_are_told_apart_in_one_run_of_twenty() -> None:
    generator = np.random.default_rng(4)
    runs = (generator.random((2000, 2, 250)) < 0.7).astype(float)  # (runs, systems, n)
    misses = sum(0.0 not in paired_interval(tuned - baseline) for tuned, baseline in runs)
    assert 0.035 <= misses / 2000 <= 0.065


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 10])
def test_the_seed_interval_has_seeds_minus_one_degrees_of_freedom(seeds: int) -> None:
    quantile = {2: 12.706205, 3: 4.302653, 5: 2.776445, 10: 2.262157}
    tuned = np.linspace(0.6, 0.7, seeds)
    interval = seed_interval(tuned, np.array([0.5]))
    if seeds == 1:
        assert interval == Interval(-math.inf, math.inf)
    else:
        assert interval.high - (tuned.mean() - 0.5) == pytest.approx(quantile[seeds] * standard_error(tuned), rel=1e-6)


def test_baseline_seeds_add_their_own_variance() -> None:
    tuned, baseline = np.array([0.6, 0.62, 0.64]), np.array([0.5, 0.53, 0.56])
    alone, both = seed_interval(tuned, baseline[1:2]), seed_interval(tuned, baseline)
    assert both.high - both.low > (alone.high - alone.low) * 0.9
    assert seed_interval(tuned) == seed_interval(tuned, np.zeros(1))


def test_the_seed_level_p_is_that_of_welch() -> None:
    tuned, baseline = np.array([0.6, 0.65, 0.63]), np.array([0.5, 0.58, 0.61])
    expected = scipy.stats.ttest_ind(tuned, baseline, equal_var=False)
    assert seed_p(tuned, baseline) == pytest.approx(expected.pvalue)
    interval = seed_interval(tuned, baseline)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert seed_p(tuned, np.array([0.5])) == pytest.approx(scipy.stats.ttest_1samp(tuned, 0.5).pvalue)
    assert (seed_p(tuned[:1], baseline[:1]), seed_p(np.full(3, 0.6), np.array([0.5]))) == (1.0, 0.0)


@pytest.mark.parametrize("values", [[], [0.4]])
def test_fewer_than_two_samples_say_nothing(values: list[float]) -> None:
    assert paired_interval(np.array(values)) == Interval(-math.inf, math.inf)


def test_one_cluster_says_nothing() -> None:
    assert clustered_interval(CLUSTERED, np.zeros(12, dtype=np.int64)) == Interval(-math.inf, math.inf)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_difference_that_is_no_number_is_named(bad: float) -> None:
    with pytest.raises(ValueError, match=r"value 1 of 3 is"):
        paired_interval(np.array([0.0, bad, 1.0]))


def test_an_interval_may_not_be_nan() -> None:
    with pytest.raises(ValueError, match="low <= high"):
        Interval(math.nan, 1.0)


@given(differences)
def test_swapping_the_systems_mirrors_the_interval(gains: np.ndarray) -> None:
    forth, back = paired_interval(gains), paired_interval(-gains)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
    assert paired_p(gains) == pytest.approx(paired_p(-gains))


@given(differences, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(gains: np.ndarray, random: object) -> None:
    order = np.arange(gains.size)
    random.shuffle(order)  # type: ignore[attr-defined]
    groups = np.arange(gains.size) // 2
    plain, moved = paired_interval(gains), paired_interval(gains[order])
    assert (plain.low, plain.high) == pytest.approx((moved.low, moved.high))
    clustered, carried = clustered_interval(gains, groups), clustered_interval(gains[order], groups[order])
    assert (clustered.low, clustered.high) == pytest.approx((carried.low, carried.high))


@given(differences)
def test_copies_of_each_sample_in_its_cluster_add_nothing(gains: np.ndarray) -> None:
    once = clustered_interval(gains, np.arange(gains.size))
    thrice = clustered_interval(np.repeat(gains, 3), np.repeat(np.arange(gains.size), 3))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=1e-9)
    if gains.std() > 1e-3:
        naive = paired_interval(np.repeat(gains, 3))
        assert naive.high - naive.low < thrice.high - thrice.low
