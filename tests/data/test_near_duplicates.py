"""Candidates are exactly the pairs that share enough grams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.leakage.near_duplicates import GRAM_LETTERS, candidates

texts = st.lists(st.text("abc é厨", max_size=14), max_size=8)


def grams(text: str) -> set[str]:
    """The naive way; a text shorter than a gram is one gram, padded."""
    if len(text) < GRAM_LETTERS:
        return {text.ljust(GRAM_LETTERS)} if text else set()
    return {text[place : place + GRAM_LETTERS] for place in range(len(text) - GRAM_LETTERS + 1)}


def naive(queries: list[str], others: list[str], *, inside: bool) -> set[tuple[int, int]]:
    pairs = set()
    for query, text in enumerate(queries):
        size = len(grams(text))
        broken = min(size - 1, (GRAM_LETTERS + 1) * (1 + size / 25))
        for place, other in enumerate(others):
            shared = len(grams(text) & grams(other))
            alike = shared * (size + broken) >= (size - broken) * len(grams(text) | grams(other))
            if shared and (alike or (inside and shared >= size - broken)):
                pairs.add((query, place))
    return pairs


@given(texts, texts, st.booleans())
def test_the_index_finds_what_comparing_all_pairs_finds(queries: list[str], others: list[str], inside: bool) -> None:
    found = {(query, place) for query, places in candidates(queries, others, inside=inside) for place in places}

    assert found == naive(queries, others, inside=inside)


def test_a_corpus_larger_than_one_index_keeps_its_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.leakage.near_duplicates._LETTERS_PER_INDEX", 30)
    others = ["open the door", "nothing of the kind", "shut the window", "open the door"]

    assert list(candidates(["open the door"], others)) == [(0, [0]), (0, [3])]
