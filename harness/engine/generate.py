"""The decoding loop: one prefill, then one token a row and step; rows that are done leave the batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from harness.engine.attention import shared_attention
from harness.engine.prefix import Prefix, pad_left
from harness.errors import InvalidEvidence
from harness.fingerprint import fingerprint
from harness.samples import Decoding


@dataclass(frozen=True)
class Request:
    """One row. prompt: all its tokens. room: most new tokens, `max_tokens` or what the context leaves."""

    prompt: tuple[int, ...]
    room: int


@dataclass(frozen=True)
class Generated:
    """One answer. tokens: its text and end token, counted. cut: it ended for want of room."""

    text: str
    tokens: int
    cut: bool


@dataclass(frozen=True)
class Speaker:
    """What the loop needs to know of a model. ends: tokens that end an answer.

    shares: its attention can look at one shared prefix; otherwise each row gets a copy of it.
    """

    model: Any
    tokenizer: Any
    ends: frozenset[int]
    shares: bool = False

    def text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))


@torch.inference_mode()
def generate(speaker: Speaker, requests: Sequence[Request], decoding: Decoding, prefix: Prefix) -> list[Generated]:
    """Return one answer a request, in order.

    Greedy answers are those of `model.generate` up to rounding. A sampled answer depends on its prompt and
    `decoding.seed` alone, not on the rows beside it.

    Raises InvalidEvidence where the model's logits are not finite.
    """
    if not speaker.shares or prefix.cache is None:
        return _decode(speaker, requests, decoding, prefix, prefix.rows(len(requests)))
    with shared_attention(speaker.model, None, prefix.cache):
        return _decode(speaker, requests, decoding, prefix, DynamicCache())


def _decode(
    speaker: Speaker, requests: Sequence[Request], decoding: Decoding, prefix: Prefix, cache: DynamicCache
) -> list[Generated]:
    """Generate with `cache`, which holds the prefix, or holds nothing where attention looks at it apart."""
    rows = [_Row(index, request, decoding) for index, request in enumerate(requests)]
    answers: dict[int, Generated] = {}
    own = [request.prompt[prefix.tokens :] for request in requests]
    padded = pad_left(own, prefix, pad=speaker.tokenizer.pad_token_id or 0, device=speaker.model.device)
    mask = padded.mask[:, prefix.positions - cache.get_seq_length() :]  # of what the cache will hold
    ids, positions = padded.input_ids, padded.position_ids
    while rows:
        logits = _last_logits(speaker.model, ids, positions, mask, cache)  # (rows, vocabulary)
        kept = []
        for place, (row, token) in enumerate(zip(rows, _choose(logits, rows, decoding), strict=True)):
            done = row.take(token, speaker)
            if done is None:
                kept.append(place)
            else:
                answers[row.index] = done
        if not kept:
            break
        if len(kept) < len(rows):
            keep = torch.tensor(kept, device=ids.device)
            cache.batch_select_indices(keep)
            mask, positions = mask[keep], positions[keep]
            rows = [rows[place] for place in kept]
        ids = torch.tensor([[row.tokens[-1]] for row in rows], device=ids.device)
        positions = positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    return [answers[index] for index in range(len(requests))]


class _Row:
    """One answer in the making."""

    def __init__(self, index: int, request: Request, decoding: Decoding) -> None:
        self.index = index
        self.tokens: list[int] = []
        self.random = torch.Generator()
        self._room = request.room
        self._stop = decoding.stop
        # A stop string's bytes are at least one a token, so it lies within this many last tokens.
        self._tail = max((len(stop.encode()) for stop in decoding.stop), default=0) + 1
        if decoding.temperature > 0:
            seed = fingerprint((decoding.seed, request.prompt))
            self.random.manual_seed(int(seed[:15], 16))

    def take(self, token: int, speaker: Speaker) -> Generated | None:
        """Append `token`; return the answer if it is complete."""
        self.tokens.append(token)
        if token in speaker.ends:
            return Generated(speaker.text(self.tokens[:-1]), len(self.tokens), cut=False)
        if self._stop and any(stop in speaker.text(self.tokens[-self._tail :]) for stop in self._stop):
            return self._stopped(speaker.text(self.tokens))
        if len(self.tokens) >= self._room:
            return Generated(speaker.text(self.tokens), len(self.tokens), cut=True)
        return None

    def _stopped(self, text: str) -> Generated:
        found = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        return Generated(text[: min(found, default=len(text))], len(self.tokens), cut=False)


def _last_logits(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: Any
) -> torch.Tensor:
    output = model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = output.logits[:, -1]
    # A NaN anywhere makes the sum NaN; one pass is cheaper than isfinite().all().
    if bool(torch.isnan(logits.sum())):
        raise InvalidEvidence(
            "the model's logits are not numbers (NaN): its weights are broken, nothing it says counts"
        )
    return logits


def _choose(logits: torch.Tensor, rows: Sequence[_Row], decoding: Decoding) -> list[int]:
    if decoding.temperature == 0:
        return [int(token) for token in logits.argmax(dim=-1).tolist()]
    scaled = logits.double().cpu() / decoding.temperature
    return [_sample(scaled[place], row.random, decoding.top_p) for place, row in enumerate(rows)]


def _sample(logits: torch.Tensor, random: torch.Generator, top_p: float) -> int:
    """Draw one token from the smallest set of likeliest tokens whose probability reaches `top_p`."""
    ordered, tokens = torch.softmax(logits, dim=-1).sort(descending=True, stable=True)
    reached = ordered.cumsum(dim=-1)
    size = int((reached < top_p - 1e-12).sum()) + 1 if top_p < 1 else int(ordered.count_nonzero())
    drawn = float(torch.rand((), generator=random, dtype=torch.float64)) * float(reached[size - 1])
    place = int(torch.searchsorted(reached[:size], math.nextafter(drawn, math.inf)))
    return int(tokens[min(place, size - 1)])
