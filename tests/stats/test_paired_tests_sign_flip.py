import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.stats.intervals import Interval, paired_interval
from harness.stats.paired_tests import sign_flip_interval, sign_flip_p

# Steps of 1/8 are exact in binary, so that sums of any order tie exactly.
few = arrays(np.float64, st.integers(2, 9), elements=st.integers(-16, 16).map(lambda eighths: eighths / 8))


def test_twenty_of_sixty_four_flips_are_as_far_from_0() -> None:
    assert sign_flip_p(np.array([1, -1, 2, 0.5, -0.5, 3])) == 0.3125


@given(few)
def test_the_exact_test_agrees_with_scipy(differences: np.ndarray) -> None:
    expected = scipy.stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=10_000)
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue)


@given(few)
def test_the_interval_holds_0_exactly_where_the_test_accepts_it(differences: np.ndarray) -> None:
    interval, p_value = sign_flip_interval(differences), sign_flip_p(differences)
    if p_value > 0.05:
        assert 0.0 in interval
    else:  # An end may be 0 itself, where a subset's mean is.
        assert interval.low >= 0 or interval.high <= 0


def test_below_six_units_nothing_can_be_excluded() -> None:
    assert sign_flip_p(np.ones(5)) == 0.0625
    assert sign_flip_interval(np.ones(5)) == Interval(-math.inf, math.inf)
    assert sign_flip_p(np.ones(6)) == 0.03125
    assert sign_flip_interval(np.ones(6)) == Interval(1.0, 1.0)


def test_beyond_sixteen_units_flips_are_drawn_and_p_is_never_0() -> None:
    differences = np.linspace(0.5, 1.5, 25)
    assert sign_flip_p(differences) == 1 / 10_001
    assert sign_flip_p(differences) == sign_flip_p(differences, seed=0)


def test_drawn_flips_give_nearly_the_t_test_on_normal_data() -> None:
    differences = np.random.default_rng(5).normal(0.3, 1, 60)
    expected = scipy.stats.ttest_1samp(differences, 0).pvalue
    assert sign_flip_p(differences) == pytest.approx(expected, abs=0.01)
    drawn, t = sign_flip_interval(differences), paired_interval(differences)
    assert (drawn.low, drawn.high) == pytest.approx((t.low, t.high), abs=0.03)


def test_clusters_flip_as_a_whole() -> None:
    differences = np.array([1.0, 1, 1, -0.5, -0.5, 2, 2, 2, 1, 1, 1, 0.5])
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4])
    sums = np.array([3, -1, 6, 3, 0.5])
    assert sign_flip_p(differences, groups) == sign_flip_p(sums)
    assert sign_flip_p(differences, groups) > sign_flip_p(differences)


@given(few)
def test_copies_within_a_cluster_add_nothing(differences: np.ndarray) -> None:
    groups = np.repeat(np.arange(differences.size), 2)
    copies = np.repeat(differences, 2)
    assert sign_flip_p(copies, groups) == sign_flip_p(differences)
    assert sign_flip_interval(copies, groups) == sign_flip_interval(differences)


@given(few)
def test_swapping_the_systems_keeps_p_and_mirrors_the_interval(differences: np.ndarray) -> None:
    assert sign_flip_p(differences) == sign_flip_p(-differences)
    forth, back = sign_flip_interval(differences), sign_flip_interval(-differences)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


def test_no_difference_at_all_is_p_1() -> None:
    assert sign_flip_p(np.zeros(40)) == 1.0
