import math

import numpy as np
import pytest
import scipy.stats

from harness.stats.paired_tests import NonInferiority, noninferiority, paired_p


def with_mean_and_sd(mean: float, sd: float, n: int) -> np.ndarray:
    half = sd * math.sqrt((n - 1) / n)
    return np.array([mean + half, mean - half] * (n // 2))


def test_a_margin_that_the_data_do_not_clear() -> None:
    found = noninferiority(with_mean_and_sd(-0.006, 0.30, 500), margin=0.02)
    assert (found.t, found.p_value, found.low) == pytest.approx((1.043498, 0.148611, -0.028109), abs=1e-6)


def test_a_margin_that_the_data_clear() -> None:
    found = noninferiority(with_mean_and_sd(-0.006, 0.30, 5000), margin=0.02)
    assert found.low > -0.02
    assert found.p_value < 0.05


def test_noninferiority_is_the_one_sided_t_test_against_the_margin() -> None:
    differences = np.random.default_rng(1).normal(size=40)
    expected = scipy.stats.ttest_1samp(differences, -0.1, alternative="greater").pvalue
    assert noninferiority(differences, margin=0.1).p_value == pytest.approx(expected)


def test_one_sample_shows_nothing_and_no_spread_shows_what_it_is() -> None:
    assert noninferiority(np.array([0.0]), margin=0.1) == NonInferiority(0.0, 1.0, -math.inf)
    assert noninferiority(np.zeros(9), margin=0.1) == NonInferiority(math.inf, 0.0, 0.0)


@pytest.mark.parametrize(("differences", "p_value"), [([1.0] * 5, 0.0625), ([0.0] * 5, 1.0), ([-3.0] * 8, 2 / 2**8)])
def test_without_spread_p_is_that_of_the_sign_test_not_0(differences: list[float], p_value: float) -> None:
    assert paired_p(np.array(differences)) == p_value


def test_a_far_tail_does_not_round_to_0() -> None:
    assert 0 < paired_p(np.random.default_rng(2).normal(5, 1, 400)) < 1e-100


def test_clusters_count_as_one_unit_each() -> None:
    values, groups = np.repeat([0.0, 1.0, 1.0, 2.0], 5), np.repeat(np.arange(4), 5)
    assert paired_p(values, groups) == pytest.approx(paired_p(np.array([0.0, 1.0, 1.0, 2.0])))
    assert paired_p(values, groups) > paired_p(values)
