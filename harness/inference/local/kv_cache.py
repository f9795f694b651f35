"""The answers that a model is writing, and the forward passes that give each its next logits.

Where the keys and values of answers in the making stand: a place an answer, written once, copied by no step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from harness.inference.local.attention import Packed, attention, shared_attention
from harness.inference.local.packing import Pack, Sequences, SharedPrefix, lay_out, pad_left, plan_packs
from harness.inference.local.sequence import DecodingModel, RunningSequence


class KVCache:
    """Keys and values of answers, a pair of tensors a layer, (count, key heads, capacity, width).

    count: most answers at once. capacity: most tokens of one, the shared prefix apart. The answers in the making stand
    in the first places.
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
    """An `attention.OwnAttention`: a packed row of prompts, each of which is written to its slot.

    of: (tokens of all prompts,), the places in the packed row. to: the slot of each, and the place in it.
    """

    slots: KVCache
    pack: Pack
    of: torch.Tensor
    to: tuple[torch.Tensor, torch.Tensor]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Own.attend`."""
        keys, values = (states[0].index_select(1, self.of).transpose(0, 1) for states in (key, value))
        self.slots.write(layer, (keys, values), self.to)
        return Packed(self.pack).attend(layer, query, key, value, scale)


@dataclass(frozen=True, slots=True)
class Stepping:
    """An `attention.Own`: the next token of every answer, which sees what the answer has so far.

    mask: (answers, 1, 1, longest), 0 where a token is seen, else -inf.
    """

    slots: KVCache
    mask: torch.Tensor

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Own.attend`."""
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

    joins: whether rows may enter beside others; else they enter where there are none.
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
    """A `Table` whose rows share the prefix, stand in slots and enter at any time."""

    joins = True

    def __init__(self, speaker: DecodingModel, prefix: SharedPrefix, *, rows: int, capacity: int) -> None:
        self._speaker, self._prefix = speaker, prefix
        self._slots = KVCache(rows, capacity, speaker.model.device)

    def enter(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """See `Table.enter`."""
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
        """See `Table.step`."""
        model, lengths = self._speaker.model, self._slots.lengths
        last = torch.tensor([[row.tokens[-1] for row in rows]], device=model.device)
        logits = self._read(step(self._slots, model.dtype), last, lengths[None], 0)
        self._slots.lengths = lengths + 1
        return logits

    def keep(self, order: Sequence[int]) -> None:
        """See `Table.keep`."""
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
    """A `Table` whose rows stand in one batch, padded on the left, each with a copy of the prefix."""

    joins = False

    def __init__(self, speaker: DecodingModel, prefix: SharedPrefix) -> None:
        self._speaker, self._prefix = speaker, prefix
        self._cache = DynamicCache()
        self._mask = self._positions = torch.empty(0)

    def enter(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """See `Table.enter`."""
        own = [row.request.prompt[self._prefix.tokens :] for row in rows]
        pad = self._speaker.tokenizer.pad_token_id or 0
        padded = pad_left(own, self._prefix, pad=pad, device=self._speaker.model.device)
        self._cache = self._prefix.rows(len(rows))
        self._mask, self._positions = padded.mask, padded.position_ids
        return self._read(padded.input_ids)

    def step(self, rows: Sequence[RunningSequence]) -> torch.Tensor:
        """See `Table.step`."""
        self._positions = self._positions[:, -1:] + 1
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(rows), 1)], dim=1)
        return self._read(torch.tensor([[row.tokens[-1]] for row in rows], device=self._mask.device))

    def keep(self, order: Sequence[int]) -> None:
        """See `Table.keep`."""
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
