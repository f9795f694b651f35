"""The decoding loop: rows enter, take a token a pass, leave when they are done, and waiting ones take their place.

Continuous batching over a kv cache: the keys and values of each answer in the making stand in a place of their own,
written once and copied by no step.
"""

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from harness.errors import InvalidEvidence
from harness.fingerprint import fingerprint
from harness.inference.models.prefix_tree import (
    Limits,
    Pack,
    Packed,
    Sequences,
    SharedPrefix,
    attention,
    lay_out,
    pad_left,
    plan_packs,
    shared_attention,
)
from harness.types.samples import Decoding


@dataclass(frozen=True)
class TokenRequest:
    """One row. prompt: all its tokens. room: most new tokens, `max_tokens` or what the context leaves.

    Args:
        draw: Which of several sampled answers to the same prompt this is.
    """

    prompt: tuple[int, ...]
    room: int
    draw: int = 0


@dataclass(frozen=True)
class Generated:
    """One answer. tokens: its text and end token, counted. cut: it ended for want of room.

    Args:
        seconds: Its share of the passes it took part in.
        timed_in_batch: As in `harness.types.samples.Completion`.
    """

    text: str
    tokens: int
    cut: bool
    seconds: float
    timed_in_batch: int | None = None


@dataclass(frozen=True)
class DecodingModel:
    """What generating needs to know of a model. ends: tokens that end an answer. limits: of a packed prefill.

    Args:
        markers: Special tokens that are shown all the same, since thoughts stand between them.
        shares: Its attention can look at one shared prefix and at packed rows; otherwise each row gets a copy of
            the prefix and stands in a padded batch.
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
        """Append `token`; `answer` is set if it is complete."""
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


class KVCache:
    """Keys and values of answers, a pair of tensors a layer, (count, key heads, capacity, width).

    Args:
        count: Most answers at once.
        capacity: Most tokens of one, the shared prefix apart. The answers in the making stand in the first places.
    """

    def __init__(self, count: int, capacity: int, device: torch.device) -> None:
        self._count, self._capacity = count, capacity
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.lengths = torch.zeros(0, dtype=torch.long, device=device)  # (answers,), the tokens that each has

    def write(
        self, layer: int, states: tuple[torch.Tensor, torch.Tensor], at: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        """Put keys and values, (tokens, key heads, width) each, where `at` says: a slot and a place in it a token."""
        if layer not in self._layers:
            # Zeros: what is masked still takes part in a product, and 0 times an uninitialised NaN is a NaN.
            self._layers[layer] = (self._empty(states[0]), self._empty(states[1]))
        slot, place = at
        for held, new in zip(self._layers[layer], states, strict=True):
            held[slot, :, place] = new

    def _empty(self, states: torch.Tensor) -> torch.Tensor:
        return states.new_zeros(self._count, states.shape[1], self._capacity, states.shape[2])

    def view(self, layer: int, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of all answers, (answers, key heads, longest, width), nothing copied."""
        keys, values = self._layers[layer]
        return keys[: len(self.lengths), :, :longest], values[: len(self.lengths), :, :longest]

    def keep(self, order: Sequence[int]) -> None:
        """Keep the answers at `order`, in that order; only those that change their place are moved."""
        moved = [(new, old) for new, old in enumerate(order) if new != old]
        if moved:
            to, of = torch.tensor(moved, device=self.lengths.device).unbind(1)
            for keys, values in self._layers.values():
                keys[to], values[to] = keys[of], values[of]
        self.lengths = self.lengths[torch.tensor(order, dtype=torch.long, device=self.lengths.device)]


@dataclass(frozen=True, slots=True)
class Filling:
    """An `OwnAttention`: a packed row of prompts, each of which is written to its slot.

    Args:
        of: (tokens of all prompts,), the places in the packed row.
        to: The slot of each, and the place in it.
    """

    slots: KVCache
    pack: Pack
    of: torch.Tensor
    to: tuple[torch.Tensor, torch.Tensor]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `OwnAttention.attend`."""
        keys, values = (states[0].index_select(1, self.of).transpose(0, 1) for states in (key, value))
        self.slots.write(layer, (keys, values), self.to)
        return Packed(self.pack).attend(layer, query, key, value, scale)


@dataclass(frozen=True, slots=True)
class Stepping:
    """An `OwnAttention`: the next token of every answer, which sees what the answer has so far.

    Args:
        mask: (answers, 1, 1, longest), 0 if a token is seen, else -inf.
    """

    slots: KVCache
    mask: torch.Tensor

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `OwnAttention.attend`."""
        answers = torch.arange(query.shape[2], device=query.device)
        self.slots.write(layer, (key[0].transpose(0, 1), value[0].transpose(0, 1)), (answers, self.slots.lengths))
        keys, values = self.slots.view(layer, self.mask.shape[-1])
        # Heads that share a key head stand in one row: no key is copied.
        own = query[0].transpose(0, 1).reshape(len(answers), keys.shape[1], -1, query.shape[3])
        answer, sums = attention(own, keys, values, self.mask, scale)
        return (
            answer.reshape(len(answers), query.shape[1], -1).transpose(0, 1)[None],
            sums.reshape(len(answers), -1).transpose(0, 1)[None],
        )


def step(slots: KVCache, dtype: torch.dtype) -> Stepping:
    """Return the pass that reads one more token of every answer."""
    seen = torch.arange(int(slots.lengths.max()) + 1, device=slots.lengths.device) <= slots.lengths[:, None]
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, float("-inf"))
    return Stepping(slots, mask[:, None, None])


def fill(slots: KVCache, pack: Pack, places: Mapping[int, int]) -> Filling:
    """Return the pass that reads `pack` and puts the prompt of each position in `places` into its slot."""
    paths = [pack.paths[position] for position in places]
    slot = torch.cat([torch.full((len(path),), to) for to, path in zip(places.values(), paths, strict=True)])
    place = torch.cat([torch.arange(len(path)) for path in paths])
    device = slots.lengths.device
    return Filling(slots, pack, torch.cat(paths).to(device), (slot.to(device), place.to(device)))


class BatchState(Protocol):
    """Rows being written, in the order in which they entered and were kept.

    joins: whether rows may enter beside others; else they enter if there are none.
    """

    @property
    def joins(self) -> bool: ...
    def enter(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """Read the prompts of `rows`, which stand last from now on; return their logits, (rows, vocabulary)."""
        ...

    def step(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """Read the last token of `rows`, which are all; return their logits, (rows, vocabulary)."""
        ...

    def keep(self, order: Sequence[int]) -> None:
        """Keep the rows at `order`, in that order. No place is lower than where its row stood before."""
        ...


class ContinuousBatch:
    """A `BatchState` whose rows share the prefix, stand in slots and enter at any time."""

    joins = True

    def __init__(self, speaker: DecodingModel, prefix: SharedPrefix, *, rows: int, capacity: int) -> None:
        self._speaker, self._prefix = speaker, prefix
        self._slots = KVCache(rows, capacity, speaker.model.device)

    def enter(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """See `BatchState.enter`."""
        own = Sequences([row.request.prompt[self._prefix.tokens :] for row in rows], [1] * len(rows))
        lengths = self._slots.lengths
        found: dict[int, torch.Tensor] = {}
        for items in plan_packs(own, self._speaker.limits):
            positions = [position for item in items for position in item]
            pack = lay_out(items, own, device=lengths.device, dtype=self._speaker.model.dtype)
            ends = torch.stack([pack.paths[position][-1] for position in positions])
            keep, at = torch.unique(ends, return_inverse=True)  # equal prompts end in the same place
            filling = fill(self._slots, pack, {position: len(lengths) + position for position in positions})
            logits = self._read(filling, pack.tokens, pack.depths, keep.to(lengths.device))
            found |= dict(zip(positions, logits[at.to(logits.device)], strict=True))
        entered = torch.tensor([len(tokens) for tokens in own.tokens], device=lengths.device)
        self._slots.lengths = torch.cat([lengths, entered])
        return torch.stack([found[position] for position in range(len(rows))])

    def step(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """See `BatchState.step`."""
        model, lengths = self._speaker.model, self._slots.lengths
        last = torch.tensor([[row.tokens[-1] for row in rows]], device=model.device)
        logits = self._read(step(self._slots, model.dtype), last, lengths[None], 0)
        self._slots.lengths = lengths + 1
        return logits

    def keep(self, order: Sequence[int]) -> None:
        """See `BatchState.keep`."""
        self._slots.keep(order)

    def _read(self, own: Any, tokens: torch.Tensor, places: torch.Tensor, keep: torch.Tensor | int) -> torch.Tensor:
        """Return logits, (kept, vocabulary), of one packed row; a `keep` of 0 keeps all."""
        with shared_attention(self._speaker.model, own, self._prefix.cache):
            logits: torch.Tensor = self._speaker.model(
                input_ids=tokens,
                position_ids=places + self._prefix.positions,
                use_cache=False,
                logits_to_keep=keep,
            ).logits[0]
        return logits


class PaddedBatch:
    """A `BatchState` whose rows stand in one batch, padded on the left, each with a copy of the prefix."""

    joins = False

    def __init__(self, speaker: DecodingModel, prefix: SharedPrefix) -> None:
        self._speaker, self._prefix = speaker, prefix
        self._cache = DynamicCache()
        self._mask = self._positions = torch.empty(0)

    def enter(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """See `BatchState.enter`."""
        own = [row.request.prompt[self._prefix.tokens :] for row in rows]
        pad = self._speaker.tokenizer.pad_token_id or 0
        padded = pad_left(own, self._prefix, pad=pad, device=self._speaker.model.device)
        self._cache = self._prefix.rows(len(rows))
        self._mask, self._positions = padded.mask, padded.position_ids
        return self._read(padded.input_ids)

    def step(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """See `BatchState.step`."""
        self._positions = self._positions[:, -1:] + 1
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(rows), 1)], dim=1)
        return self._read(torch.tensor([[row.tokens[-1]] for row in rows], device=self._mask.device))

    def keep(self, order: Sequence[int]) -> None:
        """See `BatchState.keep`."""
        kept = torch.tensor(order, dtype=torch.long, device=self._mask.device)
        self._cache.batch_select_indices(kept)
        self._mask, self._positions = self._mask[kept], self._positions[kept]

    def _read(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._speaker.model(
            input_ids=tokens,
            position_ids=self._positions,
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits


# Rows enter when this share of the table is free: a prefill of few rows costs nearly what one of many does.
_FREE = 0.25


@torch.inference_mode()
def generate(
    speaker: DecodingModel, requests: Sequence[TokenRequest], decoding: Decoding, prefix: SharedPrefix, *, rows: int
) -> Iterator[tuple[int, Generated]]:
    """Yield (place in `requests`, answer) as answers are complete, at most `rows` of them in the making at once.

    Greedy answers are those of `model.generate` up to rounding. A sampled answer depends on its prompt, its draw and
    `decoding.seed` alone, not on the rows beside it.

    Raises:
        InvalidEvidence: If the model's logits are not finite.
    """
    waiting = deque(RunningSequence(place, request, decoding) for place, request in enumerate(requests))
    active: list[RunningSequence] = []
    table = _table(speaker, requests, prefix, rows)
    while waiting or active:
        began = time.perf_counter()
        entering = _entering(waiting, active, rows, table)
        logits = table.enter(entering) if entering else table.step(active)
        active += entering
        moving = entering or active
        tokens = next_tokens(_finite(logits), moving, decoding.temperature)
        share = (time.perf_counter() - began) / len(moving)
        for row, token in zip(moving, tokens, strict=True):
            row.seconds += share
            row.take(token, speaker)
        yield from ((row.place, row.answer) for row in moving if row.answer)
        if any(row.answer for row in moving):
            order = _closed_up([place for place, row in enumerate(active) if not row.answer])
            table.keep(order)
            active = [active[place] for place in order]


def _table(speaker: DecodingModel, requests: Sequence[TokenRequest], prefix: SharedPrefix, rows: int) -> BatchState:
    if not speaker.shares:
        return PaddedBatch(speaker, prefix)
    capacity = max((len(request.prompt) - prefix.tokens + request.room for request in requests), default=0)
    return ContinuousBatch(speaker, prefix, rows=min(rows, len(requests)), capacity=capacity)


def _entering(
    waiting: deque[RunningSequence], active: Sequence[RunningSequence], rows: int, table: BatchState
) -> list[RunningSequence]:
    """Take the rows that enter now from `waiting`."""
    free = min(rows - len(active), len(waiting))
    if active and (not table.joins or free < min(len(waiting), max(1, int(rows * _FREE)))):
        return []
    return [waiting.popleft() for _ in range(free)]


def _closed_up(kept: Sequence[int]) -> list[int]:
    """Return `kept`, ascending places, in an order in which as few as can be change their place: the last fill gaps."""
    stay = set(kept)
    movers = [place for place in kept if place >= len(kept)]
    return [place if place in stay else movers.pop() for place in range(len(kept))]


def _finite(logits: torch.Tensor) -> torch.Tensor:
    # A NaN anywhere makes the sum NaN; one pass is cheaper than isfinite().all().
    if bool(torch.isnan(logits.sum())):
        raise InvalidEvidence(
            "the model's logits are not numbers (NaN): its weights are broken, nothing it says counts"
        )
    return logits
