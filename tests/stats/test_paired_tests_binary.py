"""Reference values: R and Vassar tables as in statsmodels' own tests; intervals of Fagerland and others (2014)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from benchmarks.other_intervals import tango_interval, wald_interval
from harness.stats.intervals import Interval
from harness.stats.paired_tests import (
    bonett_price_interval,
    clopper_pearson_interval,
    conditional_interval,
    mcnemar_p,
    most_failures,
    sign_flip_p,
    wilson_interval,
)

TABLE = [
    (121, 59, 4.434449e-6),
    (70, 59, 0.378688),
    (80, 59, 0.089452),
    (60, 30, 0.002060),
    (15, 35, 0.006600),
    (2, 8, 0.109375),
    (0, 5, 0.0625),
    (0, 6, 0.03125),
]
counts = st.integers(0, 60)


def pairs(lost: int, gained: int, samples: int) -> np.ndarray:
    return np.array([-1.0] * lost + [1.0] * gained + [0.0] * (samples - lost - gained))


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


@pytest.mark.parametrize(("lost", "gained", "exact"), TABLE)
def test_mcnemar_gives_the_published_values(lost: int, gained: int, exact: float) -> None:
    assert mcnemar_p(lost, gained) == pytest.approx(exact, rel=1e-5, abs=6e-7)


@given(counts, counts.filter(bool))
def test_mcnemar_agrees_with_statsmodels(lost: int, gained: int) -> None:
    table = [[20, lost], [gained, 30]]
    assert mcnemar_p(lost, gained) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_systems_that_agree_everywhere_are_not_told_apart() -> None:
    assert mcnemar_p(0, 0) == 1.0


@given(counts, counts)
def test_swapping_the_systems_keeps_every_p_value(lost: int, gained: int) -> None:
    assert mcnemar_p(lost, gained) == mcnemar_p(gained, lost)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 40))
def test_ties_change_no_p_value(lost: int, gained: int, ties: int) -> None:
    without = sign_flip_p(pairs(lost, gained, lost + gained))
    assert without == pytest.approx(mcnemar_p(lost, gained))
    groups = np.concatenate([np.arange(lost + gained), np.full(ties, max(lost + gained - 1, 0))])
    assert sign_flip_p(pairs(lost, gained, lost + gained + ties), groups) == pytest.approx(without)


def test_intervals_of_15_lost_and_35_gained_among_500() -> None:
    wald = wald_interval(15, 35, 500)
    assert ends(wald) == pytest.approx((0.01250, 0.06750), abs=5e-6)
    assert (wald.high - wald.low) / 2 / 1.959964 == pytest.approx(0.014028542, abs=1e-8)
    bonett_price = bonett_price_interval(pairs(15, 35, 500))
    assert ends(bonett_price) == pytest.approx((0.01190, 0.06778), abs=5e-6)
    assert (bonett_price.low + bonett_price.high) / 2 == pytest.approx(0.039841, abs=1e-6)
    assert (bonett_price.high - bonett_price.low) / 2 / 1.959964 == pytest.approx(0.014254, abs=1e-6)


def test_intervals_of_7_lost_and_1_gained_among_21() -> None:
    assert ends(wald_interval(7, 1, 21)) == pytest.approx((-0.520, -0.052), abs=5e-4)
    assert ends(bonett_price_interval(pairs(7, 1, 21))) == pytest.approx((-0.508, -0.013), abs=5e-4)
    assert ends(tango_interval(7, 1, 21)) == pytest.approx((-0.517, -0.026), abs=5e-4)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 30))
def test_paired_intervals_mirror_when_the_systems_are_swapped(lost: int, gained: int, ties: int) -> None:
    n = lost + gained + ties
    for interval, mirrored in (
        (tango_interval(lost, gained, n), tango_interval(gained, lost, n)),
        (bonett_price_interval(pairs(lost, gained, n)), bonett_price_interval(pairs(gained, lost, n))),
        (conditional_interval(lost, gained, n), conditional_interval(gained, lost, n)),
    ):
        assert ends(interval) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 30))
def test_small_sample_intervals_leave_doubt_and_hold_the_observed_difference(lost: int, gained: int, ties: int) -> None:
    n = lost + gained + ties
    tango = tango_interval(lost, gained, n)
    assert tango.low <= (gained - lost) / n <= tango.high
    for interval in (tango, bonett_price_interval(pairs(lost, gained, n))):
        assert -1 <= interval.low < interval.high <= 1


def test_bonett_price_excludes_0_wherever_the_exact_test_does() -> None:
    for discordant in range(6, 40):
        for gained in range(discordant + 1):
            lost = discordant - gained
            if mcnemar_p(lost, gained) <= 0.05:
                assert 0.0 not in bonett_price_interval(pairs(lost, gained, 200))


@given(counts, counts.filter(bool))
def test_the_conditional_interval_and_the_exact_test_agree(lost: int, gained: int) -> None:
    assert (0.0 not in conditional_interval(lost, gained, 200)) == (mcnemar_p(lost, gained) <= 0.05)


def test_the_conditional_interval_without_discordant_pairs_is_0() -> None:
    assert conditional_interval(0, 0, 50) == Interval(0.0, 0.0)


@pytest.mark.parametrize(
    ("right", "samples", "low", "high"),
    [(45, 50, 0.786398, 0.956524), (42, 50, 0.714858, 0.916626), (0, 30, 0.0, 0.113513), (30, 30, 1 - 0.113513, 1.0)],
)
def test_wilson_gives_the_published_values(right: int, samples: int, low: float, high: float) -> None:
    assert ends(wilson_interval(right / samples, samples)) == pytest.approx((low, high), abs=1e-6)


@given(st.integers(1, 300), st.data())
def test_wilson_agrees_with_statsmodels(samples: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, samples))
    expected = proportion_confint(right, samples, method="wilson")
    assert ends(wilson_interval(right / samples, samples)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("right", "samples", "low", "high"), [(45, 50, 0.781865, 0.966725), (0, 30, 0.0, 0.115703)])
def test_clopper_pearson_gives_the_published_values(right: int, samples: int, low: float, high: float) -> None:
    assert ends(clopper_pearson_interval(right, samples)) == pytest.approx((low, high), abs=1e-6)


@given(st.integers(1, 200), st.data())
def test_the_exact_interval_holds_wilsons_centre_and_mirrors(samples: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, samples))
    found, mirrored = clopper_pearson_interval(right, samples), clopper_pearson_interval(samples - right, samples)
    assert ends(found) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)
    assert right / samples in found
    assert ends(found) == pytest.approx(proportion_confint(right, samples, method="beta"), abs=1e-9)


def test_no_failure_is_not_no_risk() -> None:
    assert most_failures(0, 30) == pytest.approx(0.095034, abs=1e-6)
    assert most_failures(0, 30) == pytest.approx(1 - 0.05 ** (1 / 30))
    assert most_failures(0, 30) < 3 / 30  # the rule of three
    assert most_failures(0, 30, level=0.975) == pytest.approx(clopper_pearson_interval(0, 30).high)
    assert most_failures(30, 30) == 1.0
