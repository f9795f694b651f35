"""Which sequences are computed together, and how they lie in one packed row.

Sequences that share a beginning form an item, a tree in which it is held once. Items of like size form a pack, one
forward pass without padding. The beginning that all sequences of a stage share is no part of it: see `Prefix`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from harness.weights.tree import TokenTree, common_length, token_tree, visible

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
