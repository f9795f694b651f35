import math

import pytest

from harness.stats.power import needed_samples, needed_seeds


@pytest.mark.parametrize(
    ("variance", "distance", "samples"),
    [(1 / 9, 0.03, 969), (1 / 9 + 2 / 6, 0.03, 3876), (1 / 9 + 2 / 60, 0.03, 1260)],
)
def test_the_published_sample_counts(variance: float, distance: float, samples: int) -> None:
    assert needed_samples(distance, math.sqrt(variance)) == samples


@pytest.mark.parametrize(("distance", "spread"), [(0.0, 1.0), (0.1, math.inf), (math.nan, 1.0)])
def test_where_no_count_would_do_none_is_given(distance: float, spread: float) -> None:
    assert needed_samples(distance, spread) is None


def test_side_and_scale_do_not_matter() -> None:
    assert needed_samples(-0.03, 0.5) == needed_samples(0.03, 0.5) == needed_samples(3, 50)
    assert needed_samples(0.5, 0.0) == 1


def test_seeds_until_their_interval_is_narrow_enough() -> None:
    assert needed_seeds(0.02, 0.01) == 4  # 3 seeds reach 0.0248, 4 seeds 0.0159
    assert needed_seeds(0.0, 0.01) is None
