"""What goes wrong in evaluation tools that people use, each with what is right on the same data."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.bootstrap import bootstrap_mean
from harness.stats.evidence import Scores, difference_of
from harness.stats.intervals import jackknife_error, paired_interval, standard_error
from harness.stats.paired_tests import mcnemar_p, paired_p, sign_flip_p
from harness.stats.power import detectable_difference, needed_samples
from harness.stats.seeds import average_repeats, copied_repeats
from harness.stats.sequences import asymptotic_p, betting_p
from harness.stats.win_rate import both_orders, win_rate


def test_an_unpaired_z_on_paired_data_misses_a_clear_gain() -> None:  # lm-eval, scripts/model_comparator.py
    hard = np.random.default_rng(1).random(300) < 0.5
    baseline = hard.astype(float)
    tuned = baseline.copy()
    tuned[np.flatnonzero(~hard)[:20]] = 1.0
    unpaired = (tuned.mean() - baseline.mean()) / math.hypot(standard_error(tuned), standard_error(baseline))
    assert abs(unpaired) < 1.96
    found = difference_of(plain(tuned), plain(baseline), seed=0)
    assert found.interval.low > 0
    assert found.p_value < 1e-5


def test_a_bootstrap_error_divided_by_the_root_of_the_resamples_is_31_times_too_small() -> None:
    # lighteval, metrics/utils/stderr.py: it takes the standard error of the replicates, not their deviation.
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    found = bootstrap_mean(values, seed=3, resamples=1000)
    assert found.error == pytest.approx(0.5 / math.sqrt(10), rel=0.06)  # .1581; sd / sqrt(n) with n - 1 is .1667
    replicates = np.random.default_rng(3).choice(values, size=(1000, 10)).mean(axis=1)
    assert found.error / standard_error(replicates) == pytest.approx(31.6, rel=0.06)


@pytest.mark.parametrize(("wins", "exact"), [(1, 1.0), (5, 0.0625)])
def test_wins_without_a_loss_and_without_a_spread_are_not_certain(wins: int, exact: float) -> None:
    # olmo-eval, PairStats.p_value: a standard error of 0 gives p = 0.
    assert mcnemar_p(0, wins) == exact
    assert sign_flip_p(np.ones(wins)) == exact
    assert paired_p(np.ones(wins)) == exact
    found = difference_of(plain(np.ones(wins)), plain(np.zeros(wins)), seed=0)
    assert found.p_value == exact
    assert found.interval.low <= 0


def test_the_power_factor_of_two_sides_is_not_that_of_one() -> None:  # NeMo Evaluator, paired_tests.py
    assert detectable_difference(1, 1.0, sides=2) == pytest.approx(2.8016, abs=5e-5)
    assert detectable_difference(1, 1.0, sides=1) == pytest.approx(2.4865, abs=5e-5)


def test_an_effect_among_discordant_pairs_is_not_an_effect_among_samples() -> None:
    # NeMo Evaluator, mde_estimate: 2.8 / sqrt(discordant pairs) is held against a difference of means.
    samples, discordant = 1000, 100
    among_samples = detectable_difference(samples, math.sqrt(discordant / samples))
    among_discordant = detectable_difference(discordant, 1.0)
    assert (among_samples, among_discordant) == pytest.approx((0.0280, 0.2802), abs=5e-5)
    assert among_discordant / among_samples == pytest.approx(samples / discordant)


def test_a_table_that_is_off_by_the_root_of_ten_is_not_the_formulas() -> None:
    # NeMo's tutorial says 100 discordant pairs show 8.8 points; its own formula says 28.
    assert detectable_difference(100, 1.0) == pytest.approx(0.2802, abs=5e-5)
    assert detectable_difference(100, 1.0) / math.sqrt(10) == pytest.approx(0.0886, abs=5e-5)


def test_systems_that_agree_everywhere_divide_nothing_by_0() -> None:  # Hugging Face evaluate, comparisons/mcnemar
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(2, 8) == pytest.approx(scipy.stats.binomtest(2, 10).pvalue)  # there is an exact form


def test_three_tools_give_three_clustered_errors_and_ours_is_named() -> None:  # Inspect, lmms-eval, the plain sandwich
    scores, groups = np.array([1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1.0]), np.repeat(np.arange(4), 3)
    sums = np.bincount(groups, weights=scores - scores.mean())
    plain_form = math.sqrt(sums @ sums) / 12
    lmms = math.sqrt(standard_error(scores) ** 2 + (sums @ sums - ((scores - scores.mean()) ** 2).sum()) / 144)
    assert (plain_form, lmms) == pytest.approx((0.181620789, 0.186621116), abs=1e-9)
    assert jackknife_error(scores, groups) == pytest.approx(0.209717623, abs=1e-9)
    clustered = Scores(values=scores[None], clusters=groups, bounded=True)
    found = difference_of(clustered, Scores(values=np.zeros((1, 12)), clusters=groups, bounded=True), seed=0)
    assert "clustered t interval, 4 groups of 12 samples" in found.method


def test_tiny_p_values_are_not_rounded_to_0() -> None:  # GrowthBook and lmms-eval: 2 * (1 - cdf)
    differences = np.random.default_rng(4).normal(0.7, 0.5, size=900)
    t = abs(differences.mean()) / standard_error(differences)
    assert 2 * (1 - scipy.stats.t.cdf(t, 899)) == 0.0
    assert 0 < paired_p(differences) < 1e-100
    assert 0 < mcnemar_p(0, 400) < 1e-100
    assert 0 < asymptotic_p(0.5, 0.5, 900, planned=900) < 1e-100
    assert 0 < sign_flip_p(differences) < 2e-4


def test_repeats_from_a_cache_have_a_variance_of_0_that_is_not_real() -> None:  # promptfoo #5947, lm-eval #3046
    answers = [["yes", "no", "yes", "no"]] * 5
    scores = np.array([[1.0, 0.0, 1.0, 1.0]] * 5)
    assert copied_repeats(answers) == (1, 2, 3, 4)
    assert paired_interval(average_repeats(scores)) == paired_interval(scores[0])


def test_a_random_order_hides_position_bias_that_a_swap_shows() -> None:  # deepeval ArenaGEval, LangSmith
    generator = np.random.default_rng(5)
    first_shown = generator.random(2000) < 0.5
    one_order = np.where(first_shown, 1.0, 0.0)  # The judge always takes the first; tuned is first in half.
    assert win_rate(one_order).rate == pytest.approx(0.5, abs=0.03)
    assert (one_order != 0.5).all()  # Not one tie: the judge looks decided.
    swapped = both_orders(np.ones(2000), np.zeros(2000))
    assert (swapped.flip_rate, swapped.position_bias) == (1.0, 0.5)


def test_a_sequential_test_that_estimates_its_variance_on_the_fly_errs_too_often() -> None:  # statgate
    drawn = np.random.default_rng(6).choice([-1.0, 0.0, 1.0], p=[0.3, 0.4, 0.3], size=(500, 200))
    k = np.arange(1, 201)
    means, squares = drawn.cumsum(axis=1) / k, (drawn**2).cumsum(axis=1) / k
    variances = np.maximum(squares - means**2, 1e-4)  # (runs, n), as estimated so far
    mixing = 0.3**2
    log_ratio = 0.5 * np.log(variances / (variances + k * mixing)) + k**2 * mixing * means**2 / (
        2 * variances * (variances + k * mixing)
    )
    assert (log_ratio > math.log(20)).any(axis=1).mean() > 0.2
    assert sum(float(betting_p(row, planned=200)[-1]) <= 0.05 for row in drawn) / 500 <= 0.05


def test_resamples_of_each_system_by_itself_lose_the_pairing() -> None:
    shared = np.random.default_rng(7).random(200)
    tuned, baseline = shared + 0.01, shared
    apart = bootstrap_mean(tuned, seed=1, resamples=500).error
    assert bootstrap_mean(tuned - baseline, seed=1, resamples=500).error < 1e-12 < 0.01 < apart


@pytest.mark.parametrize(("rho", "needed"), [(0.0, 2791), (0.5, 1396)])
def test_correlation_between_the_systems_halves_the_samples_and_is_not_assumed(rho: float, needed: int) -> None:
    assert needed_samples(0.03, math.sqrt(2 * 0.8 * 0.2 * (1 - rho))) == needed


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 60))
def test_ties_leave_the_exact_p_as_it_is(lost: int, gained: int, ties: int) -> None:
    tuned = np.array([0.0] * lost + [1.0] * gained + [1.0] * (ties + 1))
    baseline = np.array([1.0] * lost + [0.0] * gained + [1.0] * (ties + 1))
    assert difference_of(plain(tuned), plain(baseline), seed=0).p_value == mcnemar_p(lost, gained)


def plain(values: np.ndarray) -> Scores:
    return Scores(values=values[None], clusters=None, bounded=True)
