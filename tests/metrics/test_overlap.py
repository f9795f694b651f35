"""ROUGE and chrF: the packages' own values on English, and right ones in every script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import CHRF

from harness.errors import InvalidExperiment
from harness.metrics import Chrf, Rouge
from harness.metrics.overlap import words
from harness.types.protocols import Metric
from harness.types.samples import Answer, Sample

WORD = st.sampled_from(["turn", "on", "off", "the", "kitchen", "light", "Hall", "it's", "20", "please", "a_b"])
ENGLISH = (
    st.lists(WORD, min_size=2, max_size=12).map(" ".join).flatmap(lambda t: st.sampled_from([t, t + ".", f"({t})!"]))
)
METRICS = [Rouge("1"), Rouge("2"), Rouge("L"), Chrf(), Chrf(word_order=2)]
EQUAL = [
    "开灯",
    "打开厨房的灯。",
    "電気をつけて",
    "안녕하세요 세계",
    "Привет, мир",
    "เปิดไฟ",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "😀",
    "on",
    "a",
]


def value(metric: Metric, reference: str, text: str) -> float:
    found = metric.score(Sample(id="s", input="", reference=reference), Answer(sample_id="s", text=text))
    return float(getattr(found, "value", found))


@given(ENGLISH, ENGLISH, st.sampled_from("12L"))
def test_rouge_is_the_packages_own_on_english(reference: str, text: str, of: str) -> None:
    expected = RougeScorer([f"rouge{of}"]).score(reference, text)[f"rouge{of}"].fmeasure
    assert value(Rouge(of), reference, text) == pytest.approx(expected)  # type: ignore[arg-type]


@given(
    st.text(alphabet="abc 开灯厨é.,(", max_size=24),
    st.text(alphabet="abc 开灯厨é.,(", max_size=24),
    st.sampled_from([0, 2]),
)
def test_chrf_is_sacrebleus(reference: str, text: str, word_order: int) -> None:
    expected = CHRF(word_order=word_order).sentence_score(text, [reference]).score / 100
    assert value(Chrf(word_order=word_order), reference, text) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("text", EQUAL)
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_equal_answers_are_all_right_in_every_script(metric: Metric, text: str) -> None:
    assert value(metric, text, text) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_unlike_answers_and_empty_ones_share_nothing(metric: Metric) -> None:
    assert [
        value(metric, "打开", "关闭"),
        value(metric, "😀", "🎉"),
        value(metric, "on", ""),
        value(metric, "", "on"),
    ] == [0.0] * 4


def test_chinese_is_compared_by_characters() -> None:
    assert value(Rouge("1"), "打开厨房的灯", "关掉厨房的灯") == pytest.approx(4 / 6)
    assert value(Rouge("L"), "打开厨房的灯", "灯的房厨开打") == pytest.approx(1 / 6)
    assert 0 < value(Chrf(), "打开厨房的灯", "关掉厨房的灯") < 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Turn it ON, please!", ("turn", "it", "on", "please")),
        ("打开 LED灯", ("打", "开", "led", "灯")),
        ("電気を", ("電", "気", "を")),
        ("불 켜줘", ("불", "켜줘")),
        ("ไฟฟ้า", ("ไ", "ฟ", "ฟ้", "า")),
        ("नमस्ते", ("नमस्ते",)),
        ("café", ("café",)),
        ("ＡＢ", ("ab",)),
        ("ok 😀", ("ok", "😀")),
        ("...", ()),
    ],
)
def test_words_are_those_of_the_script(text: str, found: tuple[str, ...]) -> None:
    assert words(text) == found


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(METRICS))
def test_a_score_lies_between_0_and_1(reference: str, text: str, metric: Metric) -> None:
    assert 0 <= value(metric, reference, text) <= 1 + 1e-12


def test_what_is_no_kind_of_rouge_or_chrf_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match="Rouge"):
        Rouge("3")  # type: ignore[arg-type]
    with pytest.raises(InvalidExperiment, match="Chrf"):
        Chrf(char_order=0)


def test_names_are_those_of_the_field() -> None:
    assert [metric.name for metric in METRICS] == ["rouge1", "rouge2", "rougeL", "chrf", "chrf++"]
