"""Texts that read the same compare as equal, and no others do."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.dataset_task import read_answer
from harness.metrics import Accuracy, ExactMatch, JsonFields, MacroF1, Regex, SafetyRules
from harness.types.samples import Answer, Sample
from harness.types.unicode import comparable

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (COMPOSED, DECOMPOSED),
        ("\uac00", "\u1100\u1161"),
        ("\ufeffon", "on"),
        ("o\u200bn", "on"),
        ("o\u2060n", "on"),
        ("co\u00adoperate", "cooperate"),
        ("\u200eon\u200f", "on"),
        ("o\u200dn", "on"),
        ("on\u200d", "on"),
        ("\u200d", ""),
        ("开\u200b灯", "开灯"),
        ("开\u200d灯", "开灯"),
        ("\u2764\ufe0f", "\u2764"),
    ],
)
def test_what_reads_the_same_is_the_same(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),  # Persian
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u0937"),  # Hindi
        ("\U0001f468\u200d\U0001f469", "\U0001f468\U0001f469"),  # a family, and two people
        ("\uff21", "A"),
        ("\u00e9", "e"),
        ("\ufb01", "fi"),
        ("а", "a"),
    ],
)
def test_what_reads_otherwise_stays_different(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)


@given(st.text())
def test_it_changes_nothing_a_second_time_and_is_one_for_every_form(text: str) -> None:
    found = comparable(text)
    assert comparable(found) == found
    assert comparable(unicodedata.normalize("NFD", text)) == comparable(unicodedata.normalize("NFC", text))


@given(st.text(alphabet="ab é开ñ", min_size=1), st.data())
def test_an_answer_with_invisible_marks_is_the_same_answer(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    mark = data.draw(st.sampled_from("\u200b\ufeff\u2060\u00ad"))
    assert right(Accuracy(), text, unicodedata.normalize("NFD", text[:place]) + mark + text[place:]) == 1.0


def right(metric: object, expected: object, value: object) -> object:
    sample = Sample(id="s1", input="?", reference="r", expected=expected)
    found = metric.score(sample, Answer(sample_id="s1", text=str(value), value=value))  # type: ignore[attr-defined]
    return getattr(found, "value", found)


@pytest.mark.parametrize("metric", [Accuracy(), ExactMatch(), ExactMatch(normalise=("case",)), MacroF1()])
def test_every_metric_of_right_and_wrong_takes_either_spelling(metric: object) -> None:
    assert right(metric, COMPOSED, DECOMPOSED) == 1.0
    assert right(metric, "\ufeff" + DECOMPOSED, COMPOSED) == 1.0
    assert right(metric, COMPOSED, "cafe") == 0.0


def test_objects_are_compared_by_keys_and_values_of_either_spelling() -> None:
    said, meant = {DECOMPOSED: {DECOMPOSED: [DECOMPOSED]}}, {COMPOSED: {COMPOSED: [COMPOSED]}}
    assert right(ExactMatch(), meant, said) == 1.0
    assert right(JsonFields(), meant, said) == 1.0
    assert right(JsonFields(fields=(f"{DECOMPOSED}.{COMPOSED}",)), meant, said) == 1.0


def test_the_statistic_of_labels_counts_both_spellings_as_one() -> None:
    metric = MacroF1()
    found = metric.statistic([[COMPOSED, DECOMPOSED], ["tea", "tea"]], [[1.0, 1.0]])  # type: ignore[arg-type]
    assert found.tolist() == [1.0]


def test_compatible_characters_are_one_on_request() -> None:
    assert right(ExactMatch(), "ABC 1", "ＡＢＣ　１") == 0.0
    assert right(ExactMatch(normalise=("nfkc",)), "ABC 1", "ＡＢＣ　１") == 1.0
    assert right(ExactMatch(normalise=("nfkc",)), "ＡＢ", "AC") == 0.0


def test_a_pattern_and_a_word_list_meet_either_spelling() -> None:
    assert right(Regex(f"^{COMPOSED}$"), "", DECOMPOSED) == 1.0
    rules = SafetyRules(words=(COMPOSED,), profanity=False, refusals=False, personal_data=False)
    assert right(rules, "", f"a {DECOMPOSED[:2]}\u00ad{DECOMPOSED[2:]}!") == 0.0


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u2060", " \ufeff\n"])
def test_readers_see_past_marks_at_the_ends(mark: str) -> None:
    assert read_answer(f"{mark}on{mark}", "text") == "on"
    assert read_answer(f"{mark}\n{mark}on\nx", "first_line") == "on"
    assert read_answer(mark + json.dumps({"a": 1}) + mark, "json") == {"a": 1}
    assert read_answer(mark, "text") is None
