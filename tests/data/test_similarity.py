"""A typo is the same text; another word is another text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.text_similarity import (
    best_window_similarity,
    edit_cost,
    is_respelling,
    normalised,
    similarity,
    words_of,
)

words = st.lists(st.text("abc1", min_size=1, max_size=4), max_size=8)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Don't PANIC!\n", "dont panic"),
        ("Wi-Fi, 20°C", "wi fi 20 c"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("straße", "strasse"),
        ("打开厨房的灯。", "打 开 厨 房 的 灯"),
        ("+", "+"),
        ("", ""),
    ],
)
def test_normalised_text_has_no_case_punctuation_or_spacing(text: str, plain: str) -> None:
    assert normalised(text) == plain


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("turn on the kitchen light", "turn on the kitchen light", 1.0),
        ("turn on the kitchen light", "turn on the kithcen light", 1 - 0.1 / 5),
        ("use my credit card here", "use my creditcard here", 1 - 0.1 / 5),
        ("use my credit card here", "use my creditxcard here", 1 - 0.1 / 5),
        ("turn on the kitchen light", "turn on the bedroom light", 1 - 2 / 5),
        ("turn on the kitchen light", "turn off the kitchen light", 1 - 2 / 5),
        ("set the heating to 21 degrees", "set the heating to 22 degrees", 1 - 2 / 6),
        ("turn on the light", "please turn on the light", 1 - 1 / 5),
        ("", "", 1.0),
        ("a b", "", 0.0),
    ],
)
def test_similarity_counts_words(first: str, second: str, expected: float) -> None:
    assert similarity(words_of(first), words_of(second)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("word", "other", "expected"),
    [
        ("light", "lihgt", True),
        ("light", "ligt", True),
        ("light", "lights", True),
        ("light", "night", True),
        ("light", "light", True),
        ("light", "fights", False),
        ("light", "thgil", False),
        ("a", "b", False),
        ("b12", "b13", False),
        ("21", "2", False),
    ],
)
def test_a_respelling_is_one_letter_away_and_never_a_digit(word: str, other: str, expected: bool) -> None:
    assert is_respelling(word, other) is expected
    assert is_respelling(other, word) is expected


def test_a_text_is_found_inside_a_longer_passage() -> None:
    text = words_of("how long does an international transfer take to arrive in my account")
    passage = words_of("Question 7. How long does an internatonal transfer take to arrive in my account? Two days.")

    assert best_window_similarity(text, passage) == pytest.approx(1 - 0.1 / len(text))
    assert best_window_similarity(text, words_of("Nothing of the kind")) == 0.0


@given(words, words)
def test_similarity_is_between_0_and_1_and_edit_cost_symmetric(first: list[str], second: list[str]) -> None:
    assert 0.0 <= similarity(first, second) <= 1.0
    assert similarity(first, first) == 1.0
    assert edit_cost(first, second) == pytest.approx(edit_cost(second, first))
