"""The answers that a model is writing, and the forward passes that give each its next logits."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from harness.engine.attention import shared_attention
from harness.engine.growing import Growing, Speaker
from harness.engine.packing import Sequences, lay_out, plan_packs
from harness.engine.prefix import Prefix, pad_left
from harness.engine.slots import Slots, fill, step


class Table(Protocol):
    """Rows being written, in the order in which they entered and were kept.

    joins: whether rows may enter beside others; else they enter where there are none.
    """

    @property
    def joins(self) -> bool: ...
    def enter(self, rows: Sequence[Growing]) -> torch.Tensor:
        """Read the prompts of `rows`, which stand last from now on; return their logits, (rows, vocabulary)."""
        ...

    def step(self, rows: Sequence[Growing]) -> torch.Tensor:
        """Read the last token of `rows`, which are all; return their logits, (rows, vocabulary)."""
        ...

    def keep(self, order: Sequence[int]) -> None:
        """Keep the rows at `order`, in that order. No place is lower than where its row stood before."""
        ...


class Slotted:
    """A `Table` whose rows share the prefix, stand in slots and enter at any time."""

    joins = True

    def __init__(self, speaker: Speaker, prefix: Prefix, *, rows: int, capacity: int) -> None:
        self._speaker, self._prefix = speaker, prefix
        self._slots = Slots(rows, capacity, speaker.model.device)

    def enter(self, rows: Sequence[Growing]) -> torch.Tensor:
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

    def step(self, rows: Sequence[Growing]) -> torch.Tensor:
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


class Padded:
    """A `Table` whose rows stand in one batch, padded on the left, each with a copy of the prefix."""

    joins = False

    def __init__(self, speaker: Speaker, prefix: Prefix) -> None:
        self._speaker, self._prefix = speaker, prefix
        self._cache = DynamicCache()
        self._mask = self._positions = torch.empty(0)

    def enter(self, rows: Sequence[Growing]) -> torch.Tensor:
        """See `Table.enter`."""
        own = [row.request.prompt[self._prefix.tokens :] for row in rows]
        pad = self._speaker.tokenizer.pad_token_id or 0
        padded = pad_left(own, self._prefix, pad=pad, device=self._speaker.model.device)
        self._cache = self._prefix.rows(len(rows))
        self._mask, self._positions = padded.mask, padded.position_ids
        return self._read(padded.input_ids)

    def step(self, rows: Sequence[Growing]) -> torch.Tensor:
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
