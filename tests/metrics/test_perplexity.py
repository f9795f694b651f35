"""Perplexity: total over total, per token and per byte."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidEvidence, InvalidExperiment
from harness.metrics.perplexity import Perplexity
from harness.types.protocols import CorpusMetric
from harness.types.samples import Answer, Likelihood, Sample, Score

SAMPLE = Sample(id="s1", input="?", reference="four")
LIKELIHOOD = Likelihood(logprob=-6.0, tokens=3, bytes=12, greedy=False)


def answer(likelihood: Likelihood | None) -> Answer:
    return Answer(sample_id="s1", text="", likelihood=likelihood)


def test_the_score_is_nats_a_unit_and_the_detail_holds_both():
    assert Perplexity().score(SAMPLE, answer(LIKELIHOOD)) == Score(2.0, [6.0, 3])
    assert Perplexity(per="byte").score(SAMPLE, answer(LIKELIHOOD)) == Score(0.5, [6.0, 12])


def test_the_statistic_weighs_each_answer_by_its_length():
    details = [[6.0, 3], [1.0, 4]]
    weights = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    values = Perplexity().statistic(details, weights)
    assert values[:2] == pytest.approx([math.e, math.exp(2)])
    assert np.isnan(values[2])


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(1, 100)), min_size=1, max_size=20))
def test_a_sample_drawn_twice_is_a_sample_listed_twice(pairs):
    details = [list(pair) for pair in pairs]
    drawn = Perplexity().statistic(details, np.full((1, len(pairs)), 2.0))
    listed = Perplexity().statistic(details + details, np.ones((1, 2 * len(pairs))))
    assert drawn == pytest.approx(listed)


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        (None, "has no likelihood of its reference, which perplexity needs"),
        (Likelihood(logprob=0.0, tokens=0, bytes=0, greedy=True), "empty reference"),
        (Likelihood(logprob=float("-inf"), tokens=2, bytes=4, greedy=False), "is -inf; the model overflowed"),
        (Likelihood(logprob=float("nan"), tokens=2, bytes=4, greedy=False), "is nan; the model overflowed"),
    ],
)
def test_what_cannot_be_scored_raises_and_names_the_sample(likelihood, message):
    with pytest.raises(InvalidEvidence, match=f"sample 's1'.*{message}"):
        Perplexity().score(SAMPLE, answer(likelihood))


def test_an_unknown_unit_is_refused():
    with pytest.raises(InvalidExperiment, match='"token" or "byte"'):
        Perplexity(per="word")


def test_names_and_directions_are_stable():
    token, byte = Perplexity(), Perplexity(per="byte")
    assert [(m.name, m.better, m.needs_likelihood) for m in (token, byte)] == [
        ("perplexity", "lower", True),
        ("byte_perplexity", "lower", True),
    ]
    assert isinstance(token, CorpusMetric)
