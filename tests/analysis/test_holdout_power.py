import math

import numpy as np
import pytest

from harness import ExactMatch, Perplexity
from harness.analysis.holdout_power import Grouping, enough_evidence, grouping


@pytest.mark.parametrize(("n", "points"), [(100, 0.1401), (200, 0.0991), (500, 0.0626), (1000, 0.0443)])
def test_before_any_score_half_of_the_answers_count_as_right(n: int, points: float) -> None:
    found = enough_evidence(n, 0.05, ExactMatch())

    assert found is not None
    assert found.detectable == pytest.approx(points, abs=5e-5)  # 2.8016 * 0.5 / sqrt(n)
    assert found.needed == 785  # (2.8016 * 0.5 / 0.05) ** 2 = 784.9
    assert found.enough == (n >= 785)


def test_binary_scores_at_80_percent_give_the_published_table() -> None:
    right = np.array([1.0] * 8000 + [0.0] * 2000)

    found = [enough_evidence(n, 0.05, ExactMatch(), scores=right) for n in (100, 200, 500, 1000)]

    assert [one.detectable for one in found if one] == pytest.approx([0.1121, 0.0792, 0.0501, 0.0354], abs=5e-5)


def test_too_small_a_holdout_says_the_number_that_would_do() -> None:
    found = enough_evidence(200, 0.05, ExactMatch())

    assert found is not None
    assert found.sentence == (
        "200 holdout samples show a true difference in exact_match of about 9.9 pts with 80 % power (assumed: half of "
        "the answers right, correlation 0.5 between systems). A gain of 5.0 pts is less than that: about 785 samples "
        "would do."
    )


def test_a_large_holdout_is_enough_and_any_gain_asks_for_no_size() -> None:
    large, any_gain = enough_evidence(900, 0.05, ExactMatch()), enough_evidence(40, 0.0, ExactMatch())

    assert large is not None
    assert large.enough
    assert large.sentence.endswith("That is enough for the 5.0 pts asked for.")
    assert any_gain is not None
    assert any_gain.enough
    assert any_gain.needed is None


def test_a_metric_without_bounds_waits_for_the_scores_of_dev() -> None:
    found = enough_evidence(100, 0.1, Perplexity(), scores=np.array([1.0, 2.0, 3.0, 4.0]))

    assert enough_evidence(100, 0.1, Perplexity()) is None
    assert found is not None
    assert found.spread == pytest.approx(1.29099, abs=1e-5)
    assert "the spread of 4 DEV scores" in found.assumption


def test_one_sample_or_one_score_shows_nothing() -> None:
    assert enough_evidence(1, 0.05, ExactMatch()) is None
    assert enough_evidence(100, 0.05, ExactMatch(), scores=np.array([1.0])) is None


def test_none_right_on_dev_is_no_proof_that_scores_do_not_vary() -> None:
    found = enough_evidence(100, 0.05, ExactMatch(), scores=np.zeros(50))
    times = enough_evidence(100, 0.05, Perplexity(), scores=np.ones(50))

    assert found is not None
    assert found.spread == pytest.approx((1 / 52 * 51 / 52) ** 0.5)
    assert (found.needed, found.enough) == (60, True)
    assert times is not None
    assert (times.detectable, times.needed) == (0.0, None)


def test_groups_make_a_holdout_smaller_than_it_looks() -> None:
    # 100 groups of 4 that correlate by 0.5 vary as 160 samples: (1 + 3 * 0.5) times the variance.
    holdout = [f"g{place // 4}" for place in range(400)]

    alone = enough_evidence(400, 0.1, ExactMatch())
    grouped = enough_evidence(400, 0.1, ExactMatch(), groups=grouping(holdout))

    assert alone is not None
    assert grouped is not None
    assert grouped.detectable == pytest.approx(alone.detectable * math.sqrt(2.5))
    assert "groups of 4.0 samples whose scores correlate by 0.50" in grouped.sentence
    assert (alone.enough, grouped.enough) == (True, False)


def test_dev_says_how_alike_the_samples_of_a_group_are() -> None:
    groups = [f"g{place // 2}" for place in range(40)]
    same = np.repeat([0.0, 1.0], 20)  # both of a group are right, or both wrong
    apart = np.tile([0.0, 1.0], 20)  # one of each

    assert grouping(groups, same, groups) == Grouping(2.0, 1.0)
    assert grouping(groups, apart, groups) == Grouping(2.0, 0.0)
    assert grouping(groups, same, [None] * 40) == Grouping(2.0, 0.5)
    assert grouping([None] * 10) == Grouping(1.0, 0.5)
