"""The beginning that all rows of a stage share, computed once.

Today it is one run of tokens for a whole stage. A tree of prefixes (all choices of one question share the question)
belongs here too: whoever asks for a `Prefix` need not know how deep it is.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from harness.engine.batching import common_prefix

# Below this many tokens, copying a cache costs as much as computing it.
_WORTH_SHARING = 32


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a shared beginning. tokens: how many leading tokens of every row they stand for.

    positions: how many positions they hold: `tokens` and the virtual tokens of a prompt-learning adapter.
    cache: one row, or None where nothing is shared. It is never written to.
    """

    tokens: int = 0
    positions: int = 0
    cache: DynamicCache | None = None

    def rows(self, count: int) -> DynamicCache:
        """Return a cache of `count` rows that begins with this prefix and may be written to."""
        cache = DynamicCache() if self.cache is None else copy.deepcopy(self.cache)
        if self.cache is not None and count > 1:
            cache.batch_repeat_interleave(count)
        return cache


def shared_prefix(model: Any, sequences: Sequence[tuple[int, ...]], *, virtual: Prefix) -> Prefix:
    """Return the computed beginning that all `sequences` share, after the `virtual` tokens of an adapter."""
    length = common_prefix(sequences)
    if len(sequences) < 2 or length < _WORTH_SHARING:
        return virtual
    tokens = torch.tensor([list(sequences[0][:length])], device=model.device)  # (1, length)
    cache = virtual.rows(1)
    positions = virtual.positions + length
    model(
        input_ids=tokens,
        attention_mask=torch.ones(1, positions, dtype=torch.long, device=model.device),
        position_ids=torch.arange(virtual.positions, positions, device=model.device)[None],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return Prefix(length, positions, cache)


@dataclass(frozen=True)
class Padded:
    """Rows aligned on the right. input_ids, position_ids: (rows, width). mask: (rows, prefix positions + width)."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    mask: torch.Tensor


def pad_left(rows: Sequence[Sequence[int]], prefix: Prefix, *, pad: int, device: torch.device) -> Padded:
    """Return `rows`, what each has after the prefix, padded on the left; padding is masked and takes no position."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)[:, None]  # (rows, 1)
    place = torch.arange(width, device=device)[None] - (width - lengths)  # (rows, width), negative on padding
    own = (place >= 0).long()
    before = torch.ones(len(rows), prefix.positions, dtype=torch.long, device=device)
    return Padded(ids, prefix.positions + place.clamp(min=0), torch.cat([before, own], dim=1))
