"""MacroF1 against scikit-learn, on whole sets and on resamples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from harness.metrics.macro_f1 import MacroF1
from harness.types.protocols import CorpusMetric
from harness.types.samples import Answer, Sample, Score

LABELS = ["on", "off", "dim", "lock"]
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, "never", None])), min_size=1, max_size=25)


def reference_f1(pairs) -> float:
    expected = [label for label, _ in pairs]
    predicted = ["unreadable" if label is None else label for _, label in pairs]
    return f1_score(expected, predicted, labels=sorted(set(expected)), average="macro", zero_division=0)


@given(PAIRS)
def test_it_is_scikit_learns_macro_f1_on_the_labels_of_the_references(pairs):
    value = MacroF1().statistic([list(pair) for pair in pairs], np.ones((1, len(pairs))))
    assert value == pytest.approx([reference_f1(pairs)], abs=1e-12)


@settings(max_examples=30)
@given(PAIRS, st.integers(0, 2**31))
def test_a_weighted_set_is_the_set_with_repeated_samples(pairs, seed):
    draws = np.random.default_rng(seed).integers(0, len(pairs), size=(5, len(pairs)))
    weights = np.stack([np.bincount(draw, minlength=len(pairs)) for draw in draws]).astype(float)
    values = MacroF1().statistic([list(pair) for pair in pairs], weights)
    assert values == pytest.approx([reference_f1([pairs[place] for place in draw]) for draw in draws], abs=1e-12)


def test_an_unreadable_answer_costs_recall_and_no_other_labels_precision():
    details = [["on", "on"], ["on", None], ["off", "off"], ["off", "off"]]
    # on: precision 1, recall 1/2, F1 2/3. off: 1.
    assert MacroF1().statistic(details, np.ones((1, 4))) == pytest.approx([(2 / 3 + 1) / 2])


def test_labels_are_compared_as_values():
    details = [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [True, 1]]
    assert MacroF1().statistic(details, np.ones((1, 3))) == pytest.approx([(2 / 3 + 1 + 0) / 3])


def test_a_set_without_samples_has_no_f1():
    assert np.isnan(MacroF1().statistic([["on", "on"]], np.zeros((1, 1)))).all()
    assert np.isnan(MacroF1().statistic([], np.zeros((2, 0)))).all()


def test_one_sample_scores_right_or_wrong_and_keeps_both_labels():
    sample = Sample(id="s1", input="?", reference="on", expected="on")
    scores = [MacroF1().score(sample, Answer(sample_id="s1", text="", value=value)) for value in ("on", "off", None)]
    assert scores == [Score(1.0, ["on", "on"]), Score(0.0, ["on", "off"]), Score(0.0, ["on", None])]


def test_ten_thousand_resamples_are_computed_at_once():
    generator = np.random.default_rng(0)
    details = [[int(a), int(b)] for a, b in generator.integers(0, 22, size=(1000, 2))]
    weights = generator.multinomial(1000, np.full(1000, 1e-3), size=10_000).astype(float)
    values = MacroF1().statistic(details, weights)
    assert values.shape == (10_000,)
    assert [MacroF1().statistic(details, weights[place : place + 1])[0] for place in (0, 5_000, 9_999)] == list(
        values[[0, 5_000, 9_999]]
    )


def test_it_is_a_corpus_metric():
    assert isinstance(MacroF1(), CorpusMetric)
    assert (MacroF1().name, MacroF1().better) == ("macro_f1", "higher")
