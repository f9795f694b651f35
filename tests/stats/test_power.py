"""Worked numbers are those of olmo-eval's and lmms-eval's power calculators, after Miller (2024)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.other_intervals import mcnemar_power
from harness.stats.paired_tests import mcnemar_p
from harness.stats.power import (
    detectable_difference,
    needed_samples,
    needed_seeds,
)


def spread(repeats: int, variance: float) -> float:
    """Return the spread of a difference whose answers vary within a sample; Miller (2024), section 5."""
    return math.sqrt(1 / 9 + 2 * variance / repeats)


@pytest.mark.parametrize(("repeats", "variance", "samples"), [(1, 0.0, 969), (1, 1 / 6, 3876), (10, 1 / 6, 1260)])
def test_the_published_sample_counts(repeats: int, variance: float, samples: int) -> None:
    assert needed_samples(0.03, spread(repeats, variance)) == samples


@pytest.mark.parametrize(("repeats", "shown"), [(1, 0.1327), (10, 0.0757), (10**9, 0.0664)])
def test_what_198_samples_show(repeats: int, shown: float) -> None:
    assert detectable_difference(198, spread(repeats, 1 / 6)) == pytest.approx(shown, abs=5e-5)


def test_the_quantiles_behind_them() -> None:
    assert detectable_difference(1, 1.0) == pytest.approx(2.801585218, abs=1e-9)
    assert detectable_difference(1, 1.0) ** 2 == pytest.approx(7.848879734, abs=1e-9)
    assert detectable_difference(1, 1.0, sides=1) == pytest.approx(2.4865, abs=5e-5)
    assert detectable_difference(1, 1.0) ** 2 / 9 / 0.03**2 == pytest.approx(968.9975, abs=1e-4)


@pytest.mark.parametrize(
    ("samples", "correlation", "shown"),
    [
        (100, 0.5, 0.1121),
        (200, 0.5, 0.0792),
        (500, 0.5, 0.0501),
        (1000, 0.5, 0.0354),
        (500, 0.7, 0.0388),
        (500, 0, 0.0709),
    ],
)
def test_what_right_or_wrong_scores_show(samples: int, correlation: float, shown: float) -> None:
    assert detectable_difference(samples, math.sqrt(0.32 * (1 - correlation))) == pytest.approx(shown, abs=5e-5)


def test_the_default_of_another_calculator() -> None:
    assert needed_samples(0.03, 0.5) == 2181


@pytest.mark.parametrize(
    ("samples", "shares", "errors"),
    [
        (5000, (0.655, 0.630), (0.672, 0.683)),
        (164, (0.836, 0.867), (2.891, 2.652)),
        (2500, (0.753, 0.780), (0.863, 0.828)),
    ],
)
def test_the_standard_errors_of_the_example_table(
    samples: int, shares: tuple[float, float], errors: tuple[float, float]
) -> None:
    assert [100 * math.sqrt(p * (1 - p) / samples) for p in shares] == pytest.approx(errors, abs=5e-4)


@given(st.integers(2, 5000), st.floats(0.01, 1), st.floats(0.5, 0.99))
def test_so_many_samples_show_what_so_many_are_needed_for(samples: int, spread: float, power: float) -> None:
    shown = detectable_difference(samples, spread, power=power)
    needed = needed_samples(shown, spread, power=power)
    assert needed is not None
    assert samples <= needed <= samples + 1


def test_no_samples_show_nothing() -> None:
    assert detectable_difference(0, 0.5) == math.inf


@pytest.mark.parametrize(("distance", "spread"), [(0.0, 1.0), (0.1, math.inf), (math.nan, 1.0)])
def test_where_no_count_would_do_none_is_given(distance: float, spread: float) -> None:
    assert needed_samples(distance, spread) is None


def test_side_and_scale_do_not_matter() -> None:
    assert needed_samples(-0.03, 0.5) == needed_samples(0.03, 0.5) == needed_samples(3, 50)
    assert needed_samples(0.5, 0.0) == 1


def test_a_stricter_level_needs_more_and_one_side_fewer() -> None:
    one_sided, usual, strict = (
        needed_samples(0.03, 0.5, sides=1),
        needed_samples(0.03, 0.5),
        needed_samples(0.03, 0.5, level=0.99),
    )
    assert (one_sided, usual, strict) == (1718, 2181, 3245)


@pytest.mark.parametrize(("lost", "gained", "samples"), [(0.05, 0.10, 200), (0.0, 0.05, 150), (0.2, 0.2, 120)])
def test_the_exact_sum_agrees_with_simulated_tests(lost: float, gained: float, samples: int) -> None:
    drawn = np.random.default_rng(7).multinomial(samples, [lost, gained, 1 - lost - gained], size=4000)
    found: dict[tuple[int, int], float] = {}
    for few, many in {(int(a), int(b)) for a, b, _ in drawn}:
        found[few, many] = mcnemar_p(few, many)
    either = np.mean([found[int(a), int(b)] <= 0.05 for a, b, _ in drawn])
    upwards = np.mean([b > a and found[int(a), int(b)] <= 0.05 for a, b, _ in drawn])
    assert mcnemar_power(lost, gained, samples) == pytest.approx(either, abs=0.025)
    assert mcnemar_power(lost, gained, samples, level=0.975, sides=1) == pytest.approx(upwards, abs=0.025)


def test_the_exact_test_never_errs_more_than_alpha_and_few_pairs_never_reject() -> None:
    assert all(mcnemar_power(share, share, 200) <= 0.05 for share in (0.01, 0.05, 0.2, 0.5))
    assert mcnemar_power(0.0, 1.0, 5) == 0.0  # 2 / 2^5 = 0.0625
    assert mcnemar_power(0.0, 1.0, 6) == 1.0
    assert mcnemar_power(0.0, 0.0, 100) == 0.0


def test_seeds_until_their_interval_is_narrow_enough() -> None:
    assert needed_seeds(0.02, 0.01) == 4  # 3 seeds reach 0.0248, 4 seeds 0.0159
    assert needed_seeds(0.0, 0.01) is None
