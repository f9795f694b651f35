"""One answer in the making: its tokens so far, when it ends, and how its next token is drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from harness.fingerprint import fingerprint
from harness.inference.local.packing import Limits
from harness.types.samples import Decoding


@dataclass(frozen=True)
class TokenRequest:
    """One row. prompt: all its tokens. room: most new tokens, `max_tokens` or what the context leaves.

    draw: which of several sampled answers to the same prompt this is.
    """

    prompt: tuple[int, ...]
    room: int
    draw: int = 0


@dataclass(frozen=True)
class Generated:
    """One answer. tokens: its text and end token, counted. cut: it ended for want of room.

    seconds: its share of the passes it took part in. timed_in_batch: as in `harness.types.samples.Completion`.
    """

    text: str
    tokens: int
    cut: bool
    seconds: float
    timed_in_batch: int | None = None


@dataclass(frozen=True)
class DecodingModel:
    """What generating needs to know of a model. ends: tokens that end an answer. limits: of a packed prefill.

    markers: special tokens that are shown all the same, since thoughts stand between them.
    shares: its attention can look at one shared prefix and at packed rows; otherwise each row gets a copy of the prefix
    and stands in a padded batch.
    """

    model: Any
    tokenizer: Any
    ends: frozenset[int]
    limits: Limits
    shares: bool = False
    markers: frozenset[int] = frozenset()

    def text(self, tokens: Sequence[int]) -> str:
        if self.markers.isdisjoint(tokens):
            return self._decoded(tokens)
        runs = groupby(tokens, key=self.markers.__contains__)
        return "".join(self._decoded(list(run), markers=shown) for shown, run in runs)

    def _decoded(self, tokens: Sequence[int], *, markers: bool = False) -> str:
        return str(
            self.tokenizer.decode(list(tokens), skip_special_tokens=not markers, clean_up_tokenization_spaces=False)
        )


class RunningSequence:
    """One answer in the making. place: which request it answers."""

    def __init__(self, place: int, request: TokenRequest, decoding: Decoding) -> None:
        self.place = place
        self.request = request
        self.tokens: list[int] = []
        self.seconds = 0.0
        self.answer: Generated | None = None
        self._decoding = decoding
        self._random = torch.Generator()
        # A stop string's bytes are at least one a token, so it lies within this many last tokens.
        self._tail = max((len(stop.encode()) for stop in decoding.stop), default=0) + 1
        if decoding.temperature > 0:
            seed = fingerprint((decoding.seed, request.prompt, request.draw))
            self._random.manual_seed(int(seed[:15], 16))

    def draw(self, logits: torch.Tensor) -> int:
        """Return the next token, drawn from `logits`, (vocabulary,), already divided by the temperature."""
        return sample(logits, self._random, self._decoding.top_p)

    def take(self, token: int, speaker: DecodingModel) -> None:
        """Append `token`; `answer` is set where it is complete."""
        self.tokens.append(token)
        stop = self._decoding.stop
        if token in speaker.ends:
            self._done(speaker.text(self.tokens[:-1]), cut=False)
        elif stop and any(text in speaker.text(self.tokens[-self._tail :]) for text in stop):
            text = speaker.text(self.tokens)
            found = [place for string in stop if (place := text.find(string)) >= 0]
            self._done(text[: min(found, default=len(text))], cut=False)
        elif len(self.tokens) >= self.request.room:
            self._done(speaker.text(self.tokens), cut=True)

    def _done(self, text: str, *, cut: bool) -> None:
        self.answer = Generated(text, len(self.tokens), cut, self.seconds)


def next_tokens(logits: torch.Tensor, rows: Sequence[RunningSequence], temperature: float) -> list[int]:
    """Return the next token of each row. logits: (rows, vocabulary). A temperature of 0 takes the likeliest."""
    if temperature == 0:
        return [int(token) for token in logits.argmax(dim=-1).tolist()]
    scaled = logits.double().cpu() / temperature
    return [row.draw(own) for row, own in zip(rows, scaled, strict=True)]


def sample(logits: torch.Tensor, random: torch.Generator, top_p: float) -> int:
    """Draw one token from the smallest set of likeliest tokens whose probability reaches `top_p`."""
    ordered, tokens = torch.softmax(logits, dim=-1).sort(descending=True, stable=True)
    reached = ordered.cumsum(dim=-1)
    size = int((reached < top_p - 1e-12).sum()) + 1 if top_p < 1 else int(ordered.count_nonzero())
    drawn = float(torch.rand((), generator=random, dtype=torch.float64)) * float(reached[size - 1])
    place = int(torch.searchsorted(reached[:size], math.nextafter(drawn, math.inf)))
    return int(tokens[min(place, size - 1)])
