import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.metrics import MacroF1
from harness.stats import corpus as corpus_module
from harness.stats.bootstrap import Bootstrapped, Statistic, bootstrap, bootstrap_mean
from harness.stats.corpus import Corpus, corpus_difference, corpus_mean
from harness.stats.evidence import Scores
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
    found = bootstrap(mean_of(values), np.arange(values.size), seed=0)[0]
    assert math.isfinite(found.interval.low)
    assert math.isfinite(found.interval.high)
    assert values.min() - 1e-9 <= found.interval.low <= found.interval.high <= values.max() + 1e-9


def same(found: Bootstrapped, expected: Bootstrapped) -> bool:
    pairs = ((found.value, expected.value), (found.error, expected.error))
    ends = ((found.interval.low, expected.interval.low), (found.interval.high, expected.interval.high))
    return all(math.isclose(one, other, rel_tol=1e-9) for one, other in (*pairs, *ends))


def test_a_mean_without_weights_is_the_mean_with_them() -> None:
    assert same(bootstrap_mean(SKEWED, seed=7), bootstrap(mean_of(SKEWED), np.arange(80), seed=7)[0])


@pytest.mark.parametrize("clusters", [np.arange(90), np.repeat(np.arange(30), 3), np.arange(90)[::-1]])
def test_weights_of_kinds_stand_for_the_weights_of_their_samples(clusters: np.ndarray) -> None:
    kinds = np.arange(90) * 7 % 5
    values = np.array([0.1, 3.0, 0.5, 2.0, 1.0])
    whole = bootstrap(mean_of(values[kinds]), clusters, seed=3)[0]
    assert same(bootstrap(mean_of(values), clusters, seed=3, kinds=kinds)[0], whole)


@pytest.mark.parametrize("clusters", [None, np.arange(120) // 4])
def test_a_corpus_metric_of_few_kinds_of_samples_is_that_of_all(
    clusters: np.ndarray | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = np.random.default_rng(5)
    labels = drawn.integers(0, 3, 120)

    def made(seeds: int) -> Corpus:
        answers = np.where(drawn.random((seeds, 120)) < 0.6, labels, drawn.integers(0, 3, (seeds, 120)))
        details = tuple(tuple([f"l{a}", f"l{b}"] for a, b in zip(labels, row, strict=True)) for row in answers)
        scores = Scores(values=(answers == labels).astype(float), clusters=clusters, bounded=True)
        return Corpus(name="f1", statistic=MacroF1().statistic, details=details, scores=scores)

    tuned, baseline = made(2), made(1)
    few = corpus_mean(baseline, seed=1), corpus_difference(tuned, baseline, seed=1)
    monkeypatch.setattr(corpus_module, "_kinds", lambda *corpora: (np.arange(120), list(corpora)))
    whole = corpus_mean(baseline, seed=1), corpus_difference(tuned, baseline, seed=1)
    for found, expected in zip(few, whole, strict=True):
        assert (found.method, found.notes, found.p_value) == (expected.method, expected.notes, expected.p_value)
        assert (found.value, found.spread, found.interval.low, found.interval.high) == pytest.approx(
            (expected.value, expected.spread, expected.interval.low, expected.interval.high), rel=1e-9
        )
