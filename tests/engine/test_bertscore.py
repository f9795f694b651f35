"""BERTScore against the package's own scorer, on the packaged encoder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bert_score import BERTScorer

from harness.engine.bertscore import _packaged_folder, score_all
from harness.errors import InvalidExperiment
from harness.metrics.bertscore import BERTScore
from harness.protocols import Executed
from harness.samples import Answer, Sample

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
        "harness.engine.bertscore:score_all",
    )
