"""JsonFields: the share of fields that are right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidData, InvalidExperiment
from harness.metrics import ExactMatch, JsonFields
from harness.types.protocols import Metric
from harness.types.samples import Answer, Sample, Score

_EXPECTED = {"intent": "light_on", "slots": {"area": "hall", "level": 40}}
_OBJECTS = st.dictionaries(
    st.sampled_from("abc"),
    st.integers(0, 2) | st.dictionaries(st.sampled_from("xy"), st.integers(0, 1), max_size=2),
    max_size=3,
)


def scored(metric: JsonFields, expected: object, value: object) -> Score:
    sample = Sample(id="s1", input="?", reference="the reference", expected=expected)
    return metric.score(sample, Answer(sample_id="s1", text="the answer", value=value))


@pytest.mark.parametrize(
    ("value", "share", "wrong"),
    [
        (_EXPECTED, 1.0, []),
        ({"slots": {"level": 40.0, "area": "hall"}, "intent": "light_on"}, 1.0, []),
        ({"intent": "light_off", "slots": {"area": "hall", "level": 40}}, 2 / 3, ["intent"]),
        ({"intent": "light_on", "slots": {"area": "hall"}}, 2 / 3, ["slots.level"]),
        ({**_EXPECTED, "more": 1}, 3 / 4, ["more"]),
        ({"intent": "light_on"}, 1 / 3, ["slots.area", "slots.level"]),
        ({"intent": "light_on", "slots": {}}, 1 / 4, ["slots", "slots.area", "slots.level"]),
        ('Sure: {"intent": "light_on", "slots": {"area": "hall", "level": 40}}!', 1.0, []),
    ],
)
def test_each_field_counts_and_one_too_many_costs_as_much_as_one_missing(
    value: object, share: float, wrong: list[str]
) -> None:
    assert scored(JsonFields(), _EXPECTED, value) == Score(pytest.approx(share), detail={"wrong": wrong})


@pytest.mark.parametrize("value", [None, 3, "no object", "{broken", ["intent"]])
def test_an_answer_that_is_no_object_scores_nothing(value: object) -> None:
    assert scored(JsonFields(), _EXPECTED, value) == Score(0.0, detail={"wrong": "no object"})


def test_named_fields_alone_are_looked_at_and_objects_among_them_whole() -> None:
    metric = JsonFields(fields=("intent", "slots", "absent"))
    assert scored(metric, _EXPECTED, {**_EXPECTED, "more": 1}) == Score(1.0, detail={"wrong": []})
    assert scored(metric, _EXPECTED, {"intent": "light_on", "slots": {}, "absent": 1}) == Score(
        pytest.approx(1 / 3), detail={"wrong": ["slots", "absent"]}
    )


@given(_OBJECTS, _OBJECTS)
def test_a_full_share_is_an_exact_match(expected: dict[str, object], given_: dict[str, object]) -> None:
    if not expected:
        return
    sample = Sample(id="s", input="?", reference="r", expected=expected)
    answer = Answer(sample_id="s", text="", value=given_)
    share = JsonFields().score(sample, answer).value
    assert 0 <= share <= 1
    assert (share == 1) is (ExactMatch().score(sample, answer) == 1)


def test_a_reference_that_is_no_object_names_the_sample() -> None:
    with pytest.raises(InvalidData, match="sample 's1': its reference 'the reference' is no JSON object"):
        scored(JsonFields(), "light_on", {})


@pytest.mark.parametrize("fields", ["intent", (), (1,)])
def test_fields_are_a_tuple_of_paths(fields: object) -> None:
    with pytest.raises(InvalidExperiment, match="give a tuple of paths"):
        JsonFields(fields=fields)  # type: ignore[arg-type]


def test_it_is_a_metric() -> None:
    assert isinstance(JsonFields(), Metric)
