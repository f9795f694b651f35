import math

import numpy as np
import pytest

from harness.stats.paired_tests import paired_p


def with_mean_and_sd(mean: float, sd: float, n: int) -> np.ndarray:
    half = sd * math.sqrt((n - 1) / n)
    return np.array([mean + half, mean - half] * (n // 2))


@pytest.mark.parametrize(("differences", "p_value"), [([1.0] * 5, 0.0625), ([0.0] * 5, 1.0), ([-3.0] * 8, 2 / 2**8)])
def test_without_spread_p_is_that_of_the_sign_test_not_0(differences: list[float], p_value: float) -> None:
    assert paired_p(np.array(differences)) == p_value


def test_a_far_tail_does_not_round_to_0() -> None:
    assert 0 < paired_p(np.random.default_rng(2).normal(5, 1, 400)) < 1e-100


def test_clusters_count_as_one_unit_each() -> None:
    values, groups = np.repeat([0.0, 1.0, 1.0, 2.0], 5), np.repeat(np.arange(4), 5)
    assert paired_p(values, groups) == pytest.approx(paired_p(np.array([0.0, 1.0, 1.0, 2.0])))
    assert paired_p(values, groups) > paired_p(values)
