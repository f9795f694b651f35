import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.stats.bootstrap import Bootstrapped, Statistic, bootstrap
from harness.stats.intervals import Interval

SKEWED = np.random.default_rng(0).lognormal(size=80)


def mean_of(values: np.ndarray) -> Statistic:
    def weighted_mean(weights: np.ndarray) -> np.ndarray:
        return (weights @ values / weights.sum(axis=1))[:, None]

    return weighted_mean


def test_the_interval_is_that_of_scipy_on_the_same_draws() -> None:
    found = bootstrap(mean_of(SKEWED), np.arange(80), seed=7)[0]
    expected = scipy.stats.bootstrap((SKEWED,), np.mean, method="BCa", n_resamples=10_000, rng=7)
    assert found.value == pytest.approx(SKEWED.mean())
    interval = expected.confidence_interval
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))
    assert found.error == pytest.approx(expected.standard_error)


def test_the_error_is_the_spread_of_the_resamples_not_of_their_mean() -> None:
    found = bootstrap(mean_of(SKEWED), np.arange(80), seed=7)[0]
    assert found.error == pytest.approx(SKEWED.std() / math.sqrt(80), rel=0.03)


def test_both_columns_are_computed_on_the_same_draws() -> None:
    def twice(weights: np.ndarray) -> np.ndarray:
        column = mean_of(SKEWED)(weights)
        return np.hstack([column, column])

    first, second = bootstrap(twice, np.arange(80), seed=1)
    assert first == second


def test_clusters_are_drawn_as_a_whole() -> None:
    copies = bootstrap(mean_of(np.repeat(SKEWED, 4)), np.repeat(np.arange(80), 4), seed=7)[0]
    once = bootstrap(mean_of(SKEWED), np.arange(80), seed=7)[0]
    assert (copies.interval.low, copies.interval.high) == pytest.approx((once.interval.low, once.interval.high))
    naive = bootstrap(mean_of(np.repeat(SKEWED, 4)), np.arange(320), seed=7)[0]
    assert naive.error == pytest.approx(once.error / 2, rel=0.05)


def test_one_cluster_alone_says_nothing() -> None:
    found = bootstrap(mean_of(SKEWED), np.zeros(80, dtype=np.int64), seed=0)[0]
    assert found.interval == Interval(-math.inf, math.inf)


def test_a_constant_statistic_has_an_interval_of_width_0() -> None:
    assert bootstrap(mean_of(np.full(20, 0.5)), np.arange(20), seed=0) == (Bootstrapped(0.5, Interval(0.5, 0.5), 0.0),)


def test_a_statistic_without_a_value_on_some_resample_is_refused() -> None:
    def share_of_first(weights: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return (1 / weights[:, 0])[:, None]

    with pytest.raises(ValueError, match="not finite"):
        bootstrap(share_of_first, np.arange(5), seed=0)


@settings(max_examples=40)
@given(arrays(np.float64, st.integers(2, 12), elements=st.floats(0, 1, width=16)))
def test_no_data_give_nan(values: np.ndarray) -> None:
    found = bootstrap(mean_of(values), np.arange(values.size), seed=0, resamples=200)[0]
    assert math.isfinite(found.interval.low)
    assert math.isfinite(found.interval.high)
    assert values.min() - 1e-9 <= found.interval.low <= found.interval.high <= values.max() + 1e-9
