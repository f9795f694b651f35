import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.intervals import paired_interval, standard_error
from harness.stats.seeds import average_repeats


@given(st.integers(1, 6), st.integers(1, 30))
def test_repeats_never_raise_n(repeats: int, samples: int) -> None:
    scores = np.random.default_rng(1).random((repeats, samples))
    assert average_repeats(scores).shape == (samples,)
    assert average_repeats(scores) == pytest.approx(scores.mean(axis=0))


def test_copies_of_a_score_leave_the_interval_as_it_is() -> None:
    scores = np.random.default_rng(2).random((1, 40))
    copied = average_repeats(np.tile(scores, (5, 1)))
    assert paired_interval(copied).low == pytest.approx(paired_interval(scores[0]).low)
    assert standard_error(np.tile(scores, (5, 1)).ravel()) < 0.5 * standard_error(copied)  # what pooling would claim


@pytest.mark.parametrize("shape", [(3,), (0, 4)])
def test_scores_without_repeats_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(repeats, n\) with one repeat or more"):
        average_repeats(np.zeros(shape))
