"""BERTScore against the package's own scorer, on the packaged encoder."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bert_score import BERTScorer
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
)

from harness.errors import InvalidEvidence, InvalidExperiment
from harness.fingerprint import fingerprint
from harness.inference import bertscore
from harness.inference.bertscore import TokenEncoder, _open_encoder, _packaged_folder, score_all
from harness.metrics.model_based import BERTScore
from harness.types.protocols import Executed
from harness.types.samples import Answer, Sample

TEXTS = [
    ("Turn on the kitchen light.", "Switch the light in the kitchen on."),
    ("Turn on the kitchen light.", "Turn on the kitchen light."),
    ('{"intent": "HassTurnOn"}', '{"intent": "HassTurnOff", "area": "hall"}'),
    ("A much longer answer that speaks about nothing in particular, at some length.", "Short."),
    ("  spaces around  ", "spaces around"),
    ("word " * 700, "word " * 300),
]


def score(metric: BERTScore, texts):
    samples = [Sample(id=str(place), input="", reference=reference) for place, (_, reference) in enumerate(texts)]
    answers = [Answer(sample_id=str(place), text=text) for place, (text, _) in enumerate(texts)]
    return score_all(metric, samples, answers)


@pytest.fixture(scope="module")
def packages_scorer() -> BERTScorer:
    return BERTScorer(model_type=str(_packaged_folder()), num_layers=5, device="cpu", nthreads=1)


@pytest.mark.parametrize("batch_size", [2, 64])
def test_precision_recall_and_f1_are_the_packages_own(packages_scorer, batch_size):
    precision, recall, f1 = packages_scorer.score(*(list(side) for side in zip(*TEXTS, strict=True)))
    scores = score(BERTScore(batch_size=batch_size), TEXTS)
    assert [item.value for item in scores] == pytest.approx(f1.tolist(), abs=1e-5)
    assert [item.detail["precision"] for item in scores] == pytest.approx(precision.tolist(), abs=1e-5)
    assert [item.detail["recall"] for item in scores] == pytest.approx(recall.tolist(), abs=1e-5)


def tiny_encoder(folder: Path, kind: str, seed: int) -> Path:
    """Save a random BERT or RoBERTa of two layers and 48 positions, with a tokenizer of letters and a few words."""
    torch.manual_seed(seed)
    pieces = [
        *"abcdefghijklmnopqrstuvwxyz.,",
        *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
        "light",
        "on",
    ]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    if kind == "bert":
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
        tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(words)}, model_max_length=48)
        network = BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=48, **sizes))
    else:
        words = [
            "<s>",
            "<pad>",
            "</s>",
            "<unk>",
            "<mask>",
            *(piece.lstrip("#") for piece in pieces[:28]),
            "Ġ",
            "Ġo",
            "on",
        ]
        tokenizer = RobertaTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[("Ġ", "o"), ("o", "n")])
        network = RobertaModel(RobertaConfig(vocab_size=len(words), max_position_embeddings=50, **sizes))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def random_texts(count: int, seed: int) -> list[tuple[str, str]]:
    """Words of a few letters, of 1 to 40 words: some the same text on both sides, many met again, one far too long."""
    drawn = random.Random(seed)
    words = ["light", "on", "on,", "a.", "lamp", "zzz", "é", "ON", "[SEP]"]
    texts = [" ".join(drawn.choices(words, k=drawn.randint(1, drawn.choice((3, 12, 40))))) for _ in range(count)]
    return [(drawn.choice(texts), drawn.choice(texts)) for _ in range(count)] + [
        (texts[0], texts[0]),
        ("on", "on " * 90),
    ]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("idf", [False, True])
def test_random_texts_in_a_random_encoder_score_as_in_the_package(tmp_path: Path, kind: str, idf: bool):
    for seed in range(3):
        folder = tiny_encoder(tmp_path / str(seed), kind, seed)
        texts = random_texts(60, seed)
        answers, references = (list(side) for side in zip(*texts, strict=True))
        package = BERTScorer(str(folder), 2, idf=idf, device="cpu", nthreads=0)
        package._tokenizer.model_max_length = 48  # the package has no answer to a tokenizer that knows no limit
        if idf:
            package.compute_idf(references)
        # One pair at a time: beside a longer text, a padding of similarity 0 outdoes a best match below 0.
        expected = torch.stack(package.score(answers, references, batch_size=1), dim=1).nan_to_num().tolist()
        found = score(BERTScore(model=str(folder), layers=2, idf=idf, batch_size=8), texts)
        got = [[item.detail["precision"], item.detail["recall"], item.value] for item in found]
        assert np.abs(np.array(got) - np.array(expected)).max() < 1e-5
        assert len({round(item.value, 3) for item in found}) > 20


@pytest.mark.parametrize(
    ("name", "layers"), [("google/bert_uncased_L-2_H-128_A-2", None), ("distilbert-base-uncased", 2)]
)
def test_layer_and_baseline_are_those_of_the_packages_tables(
    tmp_path: Path, monkeypatch, name: str, layers: int | None
):
    monkeypatch.chdir(tmp_path)
    tiny_encoder(tmp_path / name, "bert", 0)
    rescale = layers is not None
    texts = random_texts(30, 0)
    answers, references = (list(side) for side in zip(*texts, strict=True))
    package = BERTScorer(name, layers, lang="en", rescale_with_baseline=rescale, device="cpu", nthreads=0)
    package._tokenizer.model_max_length = 48
    expected = torch.stack(package.score(answers, references, batch_size=1), dim=1).nan_to_num().clamp(0, 1)
    found = score(BERTScore(model=name, layers=layers, rescale=rescale), texts)
    got = [[item.detail["precision"], item.detail["recall"], item.value] for item in found]
    assert got == [pytest.approx(row, abs=1e-5) for row in expected.tolist()]
    assert len({round(item.value, 3) for item in found}) > 10


def test_a_layer_or_baseline_that_the_package_does_not_know_is_named(tmp_path: Path):
    folder = str(tiny_encoder(tmp_path / "encoder", "bert", 0))
    with pytest.raises(InvalidExperiment, match="no such model in its table of layers"):
        score(BERTScore(model=folder, layers=None), TEXTS[:1])
    with pytest.raises(InvalidExperiment, match="no baseline of its layer 2; leave rescale out"):
        score(BERTScore(model=folder, layers=2, rescale=True), TEXTS[:1])
    with pytest.raises(InvalidExperiment, match="the packaged encoder has no baseline"):
        BERTScore(rescale=True)


def test_what_is_stored_depends_on_the_packages_tables_only_if_they_are_asked():
    assert fingerprint(BERTScore()) == fingerprint(BERTScore(rescale=False))
    assert BERTScore(model="roberta-large").content_key == BERTScore(model="roberta-large", layers=17).content_key
    assert BERTScore(model="roberta-large").content_key != BERTScore(model="roberta-large", layers=None).content_key


def test_each_distinct_text_is_encoded_once_and_references_stay_for_the_next_system(tmp_path: Path, monkeypatch):
    metric = BERTScore(model=str(tiny_encoder(tmp_path / "encoder", "bert", 0)), layers=2)
    encoder = _open_encoder(metric.model, metric.layers, metric.batch_size, metric.content_key)
    encoded = []
    forward = encoder.model.forward
    monkeypatch.setattr(encoder.model, "forward", lambda ids, **kw: encoded.extend(ids.tolist()) or forward(ids, **kw))
    first = [("light on", "lamp on"), ("light on", "lamp on"), ("light on", "on"), ("on", "light on")]
    alone = score(metric, first)
    assert len(encoded) == 3
    assert score(metric, [("zzz", "lamp on"), *first])[1:] == alone
    assert len(encoded) == 4


def test_more_texts_than_are_held_at_once_score_the_same(tmp_path: Path, monkeypatch):
    metric = BERTScore(model=str(tiny_encoder(tmp_path / "encoder", "bert", 0)), layers=2)
    texts = random_texts(40, 5)
    whole = score(metric, texts)
    monkeypatch.setattr(bertscore, "_TOKENS_HELD", 100)
    monkeypatch.setattr(bertscore, "_CELLS_AT_ONCE", 500)
    assert [item.value for item in score(metric, texts)] == pytest.approx([item.value for item in whole], abs=1e-6)


def test_what_is_kept_is_bounded_and_the_longest_unused_goes_first():
    encoder = TokenEncoder(None, None, "cpu", window=8, batch_size=1, keep_bytes=24)
    for name in "aba":
        encoder.keep({name: torch.zeros(2)})
    encoder.keep({"c": torch.zeros(2)})
    assert list(encoder.kept) == ["b", "a", "c"]
    encoder.keep({"d": torch.zeros(4)})
    assert list(encoder.kept) == ["c", "d"]


def test_texts_without_tokens_score_zero_silently_and_disturb_no_other(capfd):
    nothing = {"precision": 0.0, "recall": 0.0, "answer_tokens_cut": 0, "reference_tokens_cut": 0}
    texts = [("", "on"), ("on", ""), ("", ""), (" \n", "on"), ("\u200b", "on"), TEXTS[0]]
    scores = score(BERTScore(), texts)
    assert [(item.value, item.detail) for item in scores[:5]] == [(0.0, nothing)] * 5
    assert scores[5] == score(BERTScore(), TEXTS[:1])[0]
    assert "Empty" not in capfd.readouterr().err


def test_the_detail_counts_the_tokens_that_did_not_fit(packages_scorer):
    window = packages_scorer._tokenizer.model_max_length
    cut = [
        (item.detail["answer_tokens_cut"], item.detail["reference_tokens_cut"]) for item in score(BERTScore(), TEXTS)
    ]
    assert cut == [(0, 0)] * 5 + [(702 - window, max(0, 302 - window))]


def test_a_folder_whose_path_looks_like_another_architecture_loads_all_the_same(tmp_path: Path):
    folder = tmp_path / "t5" / "encoder"
    shutil.copytree(_packaged_folder(), folder)
    assert score(BERTScore(model=str(folder)), TEXTS[:2]) == score(BERTScore(), TEXTS[:2])


def test_a_layer_the_encoder_lacks_is_refused():
    with pytest.raises(InvalidExperiment, match="has 6 layers"):
        score(BERTScore(layers=7), TEXTS[:1])


def test_a_folder_that_holds_no_encoder_is_refused_with_the_remedy(tmp_path: Path):
    with pytest.raises(InvalidExperiment, match=r"does not load as an encoder.*give the folder of one"):
        score(BERTScore(model=str(tmp_path)), TEXTS[:1])


def test_declaring_it_imports_no_torch_and_impossible_sizes_are_refused():
    code = "import sys, harness.metrics; print({'torch', 'transformers', 'evaluate', 'scipy'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"
    with pytest.raises(InvalidExperiment, match="at least 1"):
        BERTScore(layers=0)
    metric = BERTScore()
    assert isinstance(metric, Executed)
    assert (metric.name, metric.better, metric.executor) == (
        "bertscore",
        "higher",
        "harness.inference.bertscore:score_all",
    )


# -- texts that the encoder does not know -------------------------------------------------------------------


@pytest.mark.parametrize("pair", [("关闭", "打开"), ("\U0001f600", "\U0001f389"), ("สวัสดี", "ขอบคุณ")])
def test_unknown_tokens_match_nothing_but_equal_texts(pair):
    known = [("Turn the light on.", "Switch the kitchen light on, please.")] * 30
    scores = score(BERTScore(), [*known, pair, (pair[0], pair[0]), (f"Turn it {pair[0]}", f"Turn it {pair[1]}")])
    assert [item.value for item in scores[-3:-1]] == [0.0, 1.0]
    assert 0 < scores[-1].value < 0.9


def test_references_that_the_encoder_does_not_know_are_refused_with_what_would_serve():
    texts = [("打开", "打开厨房的灯"), ("Turn it on", "Turn it on")]
    with pytest.raises(
        InvalidEvidence, match=r"does not know \d+% of the references' tokens.*Chrf\(\).*xlm-roberta-base"
    ):
        score(BERTScore(), texts)


def test_references_are_looked_at_before_anything_is_asked():
    def check(*references):
        return BERTScore().check_references([Sample(id=text, input="", reference=text) for text in references])

    assert (check("打开", "关闭").status, check("Turn it on", "Привет, мир")) == ("invalid", None)
    assert check() is None
    assert check("") is None


def test_a_score_is_a_fraction_and_shown_as_percent():
    scores = score(BERTScore(), [*TEXTS, ("", "on"), ("x" * 50, "y")])
    assert all(0 <= item.value <= 1 for item in scores)
    assert scores[1].value == 1.0
    assert scores[-2].value == 0.0
    assert BERTScore().unit == "%"
