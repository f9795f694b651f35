"""Which sequences are computed together, and how they lie in one packed row.

Sequences that share a beginning form an item, a tree in which it is held once. Items of like size form a pack, one
forward pass without padding. The beginning that all sequences of a stage share is no part of it: see `Prefix`.

Which positions are computed together. A plan depends on lengths alone, so a resumed stage repeats a fresh one's.

The beginning that all rows of a stage share, computed once.

Today it is one run of tokens for a whole stage. A tree of prefixes (all choices of one question share the question)
belongs here too: whoever asks for a `Prefix` need not know how deep it is.

The virtual tokens of a prompt-learning adapter, as a prefix that every row starts from.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from harness.inference.models.prefix_tree import TokenTree, common_length, token_tree, visible

# A sequence joins the item before it in order where they share this many tokens; fewer are cheaper computed again than
# kept apart by a mask.
_SHARED = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """tokens: most of a pack. item: most of an item, whose attention grows with its square. scored: most positions of
    a pack whose logits are wanted, which is what fills the memory."""

    tokens: int
    item: int
    scored: int


@dataclass(frozen=True, slots=True)
class Sequences:
    """What is packed. tokens: each sequence after the stage's prefix. scored: how many of its last positions count."""

    tokens: Sequence[tuple[int, ...]]
    scored: Sequence[int]


def plan_packs(sequences: Sequences, limits: Limits) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Return packs of items of positions, largest items first. The plan depends on the sequences alone."""
    items = _items(sequences, limits)
    packs: list[list[tuple[int, ...]]] = []
    tokens = scored = 0
    for size, count, item in sorted(items, key=lambda found: (-found[0], found[2])):
        if not packs or tokens + size > limits.tokens or scored + count > limits.scored:
            packs.append([])
            tokens = scored = 0
        packs[-1].append(item)
        tokens, scored = tokens + size, scored + count
    return tuple(map(tuple, packs))


def _items(sequences: Sequences, limits: Limits) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return (distinct tokens, scored positions at most, positions) of each item."""
    found: list[tuple[int, int, tuple[int, ...]]] = []
    order = sorted(range(len(sequences.tokens)), key=lambda at: (sequences.tokens[at], at))
    size, count = 0, 0
    item: list[int] = []
    before: tuple[int, ...] = ()
    for position in order:
        tokens, scored = sequences.tokens[position], sequences.scored[position]
        shared = common_length(before, tokens)
        joins = shared >= min(_SHARED, len(tokens)) and bool(item)
        new = len(tokens) - shared
        if not joins or size + new > limits.item or count + scored > limits.scored:
            if item:
                found.append((size, count, tuple(item)))
            size, count, item, new = 0, 0, [], len(tokens)
        item.append(position)
        size, count, before = size + new, count + min(scored, new + 1), tokens
    if item:
        found.append((size, count, tuple(item)))
    return found


@dataclass(frozen=True)
class Pack:
    """Items laid out for one forward pass.

    tokens, depths: (1, tokens). spread: (items, longest item), the place of each item's tokens, 0 where it has no more.
    mask: (items, 1, longest, longest), 0 where a token sees another, else -inf; None where no item branches, so that
    every token sees all before it. gather: (tokens,), where a packed
    token lies in the flattened spread. paths: for each sequence of the pack, where its tokens lie.
    """

    tokens: torch.Tensor
    depths: torch.Tensor
    spread: torch.Tensor
    mask: torch.Tensor | None
    gather: torch.Tensor
    paths: dict[int, torch.Tensor]


def lay_out(
    items: Sequence[tuple[int, ...]],
    sequences: Sequences,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Pack:
    """Return the pack of `items`, with a mask in `dtype`."""
    trees = [token_tree([sequences.tokens[position] for position in item]) for item in items]
    longest = max(len(tree) for tree in trees)
    starts = [0]
    for tree in trees:
        starts.append(starts[-1] + len(tree))
    sizes = torch.tensor([len(tree) for tree in trees])[:, None]  # (items, 1)
    place = torch.arange(longest)[None]  # (1, longest)
    spread = (torch.tensor(starts[:-1])[:, None] + place) * (place < sizes)
    gather = (torch.arange(len(trees))[:, None] * longest + place)[place < sizes]
    return Pack(
        tokens=torch.tensor([[token for tree in trees for token in tree.tokens]], device=device),
        depths=torch.tensor([[depth for tree in trees for depth in tree.depths]], device=device),
        spread=spread.to(device),
        mask=_mask(trees, longest, dtype, device),
        gather=gather.to(device),
        paths={
            position: torch.tensor(path, dtype=torch.long) + start
            for item, tree, start in zip(items, trees, starts, strict=False)
            for position, path in zip(item, tree.paths, strict=True)
        },
    )


def _mask(trees: Sequence[TokenTree], longest: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor | None:
    if all(end == len(tree) for tree in trees for end in tree.ends):
        return None
    # Padding ends behind itself: it sees itself alone, since a row that sees nothing has no softmax.
    ends = torch.arange(1, longest + 1).repeat(len(trees), 1)  # (items, longest)
    for row, tree in enumerate(trees):
        ends[row, : len(tree)] = torch.tensor(tree.ends)
    unseen = ~visible(ends)[:, None]
    return torch.zeros(unseen.shape, dtype=dtype).masked_fill(unseen, float("-inf")).to(device)


def plan_batches(lengths: Sequence[int], *, tokens: int, rows: int) -> tuple[tuple[int, ...], ...]:
    """Return batches of positions, longest first so that memory peaks in the first batch.

    lengths: tokens of each position, everything that the row will hold counted. tokens: most tokens of a batch,
    padding counted; a single longer row is a batch of its own. rows: most rows of a batch.
    """
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    batches: list[tuple[int, ...]] = []
    start = 0
    while start < len(order):
        widest = max(1, lengths[order[start]])
        size = max(1, min(rows, tokens // widest))
        batches.append(tuple(order[start : start + size]))
        start += size
    return tuple(batches)


def common_prefix(sequences: Sequence[tuple[int, ...]]) -> int:
    """Return how many leading tokens all `sequences` share, at most one fewer than the shortest has."""
    if not sequences:
        return 0
    # All sequences between the smallest and the largest share what these two share.
    low, high = min(sequences), max(sequences)
    shared = 0
    limit = min(len(sequence) for sequence in sequences) - 1
    while shared < limit and low[shared] == high[shared]:
        shared += 1
    return max(0, shared)


# Below this many tokens, copying a cache costs as much as computing it.
_WORTH_SHARING = 32


@dataclass(frozen=True)
class SharedPrefix:
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


def shared_prefix(model: Any, sequences: Sequence[tuple[int, ...]], *, virtual: SharedPrefix) -> SharedPrefix:
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
    return SharedPrefix(length, positions, cache)


@dataclass(frozen=True)
class PaddedRows:
    """Rows aligned on the right. input_ids, position_ids: (rows, width). mask: (rows, prefix positions + width)."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    mask: torch.Tensor


def pad_left(rows: Sequence[Sequence[int]], prefix: SharedPrefix, *, pad: int, device: torch.device) -> PaddedRows:
    """Return `rows`, what each has after the prefix, padded on the left; padding is masked and takes no position."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)[:, None]  # (rows, 1)
    place = torch.arange(width, device=device)[None] - (width - lengths)  # (rows, width), negative on padding
    own = (place >= 0).long()
    before = torch.ones(len(rows), prefix.positions, dtype=torch.long, device=device)
    return PaddedRows(ids, prefix.positions + place.clamp(min=0), torch.cat([before, own], dim=1))


@torch.inference_mode()
def virtual_prefix(adapted: Any) -> SharedPrefix:
    """Return the keys and values of a prompt-learning adapter's virtual tokens.

    PEFT puts virtual tokens before the padding of a left-padded batch, which moves them away from the text and
    changes the answers silently. As a prefix that every row starts from, they stand next to the text at any length.
    """
    base, config = adapted.base_model, adapted.peft_config[adapted.active_adapter]
    learned = adapted.get_prompt(batch_size=1)
    if isinstance(learned, torch.Tensor):  # (1, virtual tokens, hidden): embeddings to be read by the base
        cache = DynamicCache()
        base(inputs_embeds=learned.to(base.dtype), past_key_values=cache, use_cache=True, logits_to_keep=1)
    else:
        cache = learned
    return SharedPrefix(tokens=0, positions=int(config.num_virtual_tokens), cache=cache)
