"""Worked p-values are those of Benjamini and Hochberg's paper."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats.multiplicity import benjamini_hochberg, spent_alpha

FOUR = (0.01, 0.04, 0.03, 0.005)
FIFTEEN = (
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
    *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_adjusted_p_values_of_four() -> None:
    assert benjamini_hochberg(FOUR) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_of_the_fifteen_of_1995_bonferroni_keeps_three_and_benjamini_hochberg_four() -> None:
    assert sum(p <= 0.05 / 15 for p in FIFTEEN) == 3
    assert int((benjamini_hochberg(FIFTEEN) <= 0.05).sum()) == 4


@settings(max_examples=15)
@given(p_values)
def test_no_adjustment_lowers_a_p_value(values: list[float]) -> None:
    found = benjamini_hochberg(values)
    assert (np.array(values) <= found + 1e-12).all()
    assert (found <= 1).all()


def test_no_p_values_need_no_adjustment() -> None:
    assert benjamini_hochberg([]).tolist() == []


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"p-values lie in \[0, 1\], not 1.5"):
        benjamini_hochberg([0.1, 1.5])


def test_alpha_is_spent_over_the_looks() -> None:
    assert [spent_alpha(look) for look in (1, 2, 3, 4)] == pytest.approx([0.05, 0.025, 0.05 / 6, 0.05 / 12])
    assert sum(spent_alpha(look) / 2 for look in range(1, 2000)) < 0.05  # one side of each
    assert sum(spent_alpha(look, alpha=0.1) / 2 for look in range(1, 2000)) == pytest.approx(0.1, abs=1e-4)
    with pytest.raises(ValueError, match="look 0: the first candidate is look 1"):
        spent_alpha(0)


def test_twenty_null_candidates_in_a_row_seldom_give_a_false_gain() -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(1000, 20, 60))
    t = rows.mean(axis=2) / (rows.std(axis=2, ddof=1) / np.sqrt(60))
    one_sided = scipy.stats.t.sf(t, 59)
    limits = np.array([spent_alpha(look) / 2 for look in range(1, 21)])
    assert (one_sided <= limits).any(axis=1).mean() <= 0.065
    assert (one_sided <= 0.025).any(axis=1).mean() > 0.3  # what looking twenty times at full alpha does
