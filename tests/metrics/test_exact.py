"""Accuracy and ExactMatch: which answers are right."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidData, InvalidExperiment
from harness.metrics.exact import Accuracy, ExactMatch, canonical
from harness.types.protocols import Metric
from harness.types.samples import Answer, Sample

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def score(metric: Metric, expected: object, value: object) -> object:
    sample = Sample(id="s1", input="?", reference="the reference", expected=expected)
    return metric.score(sample, Answer(sample_id="s1", text="the answer", value=value))


@pytest.mark.parametrize("metric", [Accuracy(), ExactMatch()])
@pytest.mark.parametrize(
    ("expected", "value", "wanted"),
    [
        ("light_on", "light_on", 1.0),
        ("light_on", "light_off", 0.0),
        ("light_on", None, 0.0),
        ("light_on", "Light_on", 0.0),
        (1, 1.0, 1.0),
        (1, True, 0.0),
        (1, "1", 0.0),
        (0.0, -0.0, 1.0),
        (False, False, 1.0),
        ({"intent": "on", "slots": {"a": "hall", "b": 40}}, {"slots": {"b": 40.0, "a": "hall"}, "intent": "on"}, 1.0),
        ({"a": [1, 2]}, {"a": [2, 1]}, 0.0),
        ({"a": 1}, {"a": 1, "b": None}, 0.0),
    ],
)  # fmt: skip
def test_the_same_value_is_right_however_it_is_spelt(metric, expected, value, wanted):
    assert score(metric, expected, value) == wanted


@given(JSON_VALUES, st.randoms())
def test_a_value_equals_itself_after_json_and_in_any_order_of_keys(value, random):
    def shuffled(item):
        if isinstance(item, dict):
            names = list(item)
            random.shuffle(names)
            return {name: shuffled(item[name]) for name in names}
        return [shuffled(part) for part in item] if isinstance(item, list) else item

    assert canonical(shuffled(json.loads(json.dumps(value)))) == canonical(value)


@given(JSON_VALUES, JSON_VALUES)
def test_canonical_text_is_equal_exactly_where_json_values_are(left, right):
    def typed(item):
        if isinstance(item, dict):
            return {name: typed(part) for name, part in item.items()}
        if isinstance(item, list):
            return [typed(part) for part in item]
        return (isinstance(item, bool), item)

    assert (canonical(left) == canonical(right)) is (typed(left) == typed(right))


@pytest.mark.parametrize(
    ("normalise", "expected", "value"),
    [
        (("case",), "Straße", "STRASSE"),
        (("space",), "turn  it on", " turn it\non "),
        (("punctuation",), "it's on.", "its on"),
        (("punctuation",), "开灯。", "开灯"),
        (("articles",), "the light", "light"),
        (("case", "punctuation", "articles", "space"), {"say": ["The light, please!"]}, {"say": ["a  Light please"]}),
    ],
)
def test_normalising_forgives_what_it_names_and_nothing_else(normalise, expected, value):
    assert score(ExactMatch(normalise=normalise), expected, value) == 1.0
    assert score(ExactMatch(), expected, value) == 0.0


def test_normalising_leaves_a_wrong_word_wrong_and_numbers_alone():
    metric = ExactMatch(normalise=("case", "space", "punctuation", "articles"))
    assert [score(metric, "light", "lights"), score(metric, 10, 1.0), score(metric, "x", None)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("normalise", ["case", ("case", "stem")])
def test_an_unknown_normalisation_is_refused_with_the_known_ones(normalise):
    with pytest.raises(InvalidExperiment, match="'case', 'space', 'punctuation', 'articles'"):
        ExactMatch(normalise=normalise)


@pytest.mark.parametrize("metric", [Accuracy(), ExactMatch(), ExactMatch(normalise=("case",))])
def test_a_reference_that_cannot_be_read_raises_and_names_the_sample(metric):
    with pytest.raises(InvalidData, match="sample 's1': its reference 'the reference' cannot be read"):
        score(metric, None, "x")


def test_a_value_that_json_cannot_hold_raises():
    with pytest.raises(InvalidData, match="not a JSON value"):
        canonical({"when": object()})
    with pytest.raises(InvalidData, match="not a JSON value"):
        canonical(float("nan"))


def test_names_and_directions_are_stable():
    metrics = [Accuracy(), ExactMatch()]
    assert [(metric.name, metric.better) for metric in metrics] == [("accuracy", "higher"), ("exact_match", "higher")]
    assert all(isinstance(metric, Metric) for metric in metrics)
