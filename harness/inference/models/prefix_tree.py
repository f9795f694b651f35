"""Token sequences as one tree: beginnings that several share are held, and computed, once.

A packed row lays the tree out depth first, without padding. A token sees the tokens on its path from the root, so
what is computed for it equals what a row of its own would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class TokenTree:
    """The distinct tokens of some sequences, depth first.

    tokens, depths, ends: one entry a distinct token. depths: its place in its sequences, from 0. ends: one past its
    last descendant in this order. paths: for each sequence, in the order given, where its tokens lie.
    """

    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    ends: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def visible(self, device: torch.device) -> torch.Tensor:
        """Return which token sees which, (tokens, tokens): row i sees column j where j is i or an ancestor of i."""
        return visible(torch.tensor(self.ends, device=device))


def visible(ends: torch.Tensor) -> torch.Tensor:
    """Return (..., tokens, tokens) of `ends`, (..., tokens): whether j <= i < ends[j]."""
    places = torch.arange(ends.shape[-1], device=ends.device)
    return (places[:, None] >= places) & (places[:, None] < ends[..., None, :])


def token_tree(sequences: Sequence[Sequence[int]]) -> TokenTree:
    """Return the tree of `sequences`; equal sequences share a path."""
    tokens: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    paths: list[tuple[int, ...]] = [()] * len(sequences)
    before: Sequence[int] = ()
    path: list[int] = []  # where the tokens of `before` lie
    for number in sorted(range(len(sequences)), key=lambda at: tuple(sequences[at])):
        sequence = sequences[number]
        shared = common_length(before, sequence)
        for place in path[shared:]:
            ends[place] = len(tokens)
        del path[shared:]
        path.extend(range(len(tokens), len(tokens) + len(sequence) - shared))
        tokens.extend(sequence[shared:])
        depths.extend(range(shared, len(sequence)))
        ends.extend([0] * (len(sequence) - shared))
        paths[number] = tuple(path)
        before = sequence
    for place in path:
        ends[place] = len(tokens)
    return TokenTree(tuple(tokens), tuple(depths), tuple(ends), tuple(paths))


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many leading tokens `one` and `other` share."""
    limit = min(len(one), len(other))
    for place in range(limit):
        if one[place] != other[place]:
            return place
    return limit
