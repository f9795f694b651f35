from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.forgetting import retention
from harness.stats.compare import Comparison, compare
from tests.analysis.scores import Loss, Right, scored


def comparison(before: float, after: float, count: int = 400, metric: Right | Loss | None = None) -> Comparison:
    luck = np.random.default_rng(0).random(count)
    sides = [(luck < share).astype(float) for share in (before, after)]
    return compare(
        metric or Right(), split="holdout", baseline=scored("base", sides[0]), tuned=scored("lora", sides[1])
    )


def test_a_guard_within_its_margin_and_one_beyond_it():
    kept, lost, unclear = comparison(0.8, 0.8), comparison(0.8, 0.5), comparison(0.8, 0.79)
    found = retention([(kept, 0.03), (lost, 0.03), (unclear, 0.005)], gain=comparison(0.4, 0.6))
    assert found is not None
    assert [row.status for row in found.rows] == ["met", "failed", "open"]
    assert found.rows[1].share is not None
    assert found.rows[1].share.value == pytest.approx(lost.tuned_mean / lost.baseline_mean)
    assert found.rows[1].share.low == pytest.approx(1 + lost.low / lost.baseline_mean)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(0.2, abs=0.05)
    assert found.sentence.startswith("right changed by +")
    assert "beyond the allowed fall of 3.0 pts" in found.sentence


def test_where_lower_is_better_the_share_is_base_over_tuned():
    guard = replace(
        comparison(0.8, 0.8, metric=Loss()), baseline_mean=10.0, tuned_mean=12.5, difference=2.5, low=2.0, high=3.0
    )
    found = retention([(guard, 1.0)], gain=None)
    assert found is not None
    row = found.rows[0]
    assert row.share is not None
    assert (row.share.value, row.share.low, row.share.high) == pytest.approx((0.8, 10 / 13, 10 / 12))
    assert (row.status, found.gain, found.gain_metric) == ("failed", None, "")
    assert "beyond the allowed rise of 1" in found.sentence


def test_a_base_without_a_score_has_no_share():
    found = retention([(comparison(0.0, 0.1), 0.02)], gain=None)
    assert found is not None
    assert found.rows[0].share is None
    assert "of the base's score" not in found.sentence


def test_without_guards_there_is_nothing_to_retain():
    assert retention([], gain=comparison(0.4, 0.6)) is None
