import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.intervals import paired_interval, standard_error
from harness.stats.seeds import average_repeats, copied_repeats, distinct_repeats, within_variance


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


def test_the_variance_within_a_sample_is_recovered() -> None:
    generator = np.random.default_rng(3)
    scores = generator.normal(size=500) + generator.normal(0, 0.4, size=(10, 500))
    assert within_variance(scores) == pytest.approx(0.16, rel=0.1)
    assert within_variance(scores[:1]) is None


def test_repeats_from_a_cache_are_found_and_left_out() -> None:
    answers = [["on", "off", "dim"], ["on", "off", "up"], ["on", "off", "dim"], ["on", "off", "up"]]
    assert copied_repeats(answers) == (2, 3)
    scores = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert distinct_repeats(scores, answers).tolist() == scores[:2].tolist()


def test_a_cache_would_have_given_a_variance_of_0_that_is_not_real() -> None:
    answers, scores = [["on", "off"]] * 3, np.array([[1.0, 0.0]] * 3)
    assert within_variance(scores) == 0.0
    assert within_variance(distinct_repeats(scores, answers)) is None
