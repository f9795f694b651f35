"""Adapters of several kinds at once: MAM (He et al. 2022) and UniPELT (Mao et al. 2022)."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from harness.recipes.adapters import MAM, UniPELT
from harness.weights.own import prefix as prefixes
from harness.weights.own.bottleneck import Network, Parallel, Sequential, narrowed
from harness.weights.own.gate import Gate
from harness.weights.own.hung import Hung
from harness.weights.own.places import Projection, hidden_size, key_shapes, places, projections


class GatedLowRank(nn.Module):
    """y + g (alpha / rank) W_up W_down x on some columns of a projection; W_up starts at 0, g is a gate of x."""

    def __init__(self, projection: Projection, rank: int, scale: float) -> None:
        super().__init__()
        self.down = nn.Linear(projection.reads, rank, bias=False)
        self.up = nn.Linear(rank, projection.stop - projection.start, bias=False)
        self.gate = Gate(projection.reads)
        self.scale = scale
        self.margins = (projection.start, projection.writes - projection.stop)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """See `harness.weights.own.hung.Change`."""
        update = self.up(self.down(inputs.to(self.down.weight.dtype))) * self.gate(inputs) * self.scale
        return states + pad(update, self.margins).to(states.dtype)


def hang_mam(hung: Hung, base: Any, declared: MAM) -> None:
    """Hang a prefix into each layer's attention, and a scaled parallel adapter beside its feed-forward network."""
    for place, shape in zip(places(base), key_shapes(base), strict=True):
        near = next(place.attention.parameters())
        prefix = prefixes.Prefix(shape, declared.prefix_tokens)
        hung.add(prefix, near)
        prefixes.hang(hung, place.attention, prefix)
        beside = Parallel(Network(hidden_size(base), declared.bottleneck, "relu"), declared.scale)
        hung.add(beside, near)
        hung.after(place.feed_forward, beside)
    prefixes.check_seen(hung, base)


def hang_unipelt(hung: Hung, base: Any, declared: UniPELT) -> None:
    """Hang gated low-rank updates, a gated prefix and a gated sequential adapter into each layer."""
    hidden, width = hidden_size(base), narrowed(base, declared.reduction)
    for place, shape in zip(places(base), key_shapes(base), strict=True):
        near = next(place.attention.parameters())
        for projection in projections(base, place, shape):
            update = GatedLowRank(projection, declared.rank, declared.alpha / declared.rank)
            hung.add(update, near)
            hung.after(projection.module, update)
        prefix = prefixes.Prefix(shape, declared.prefix_tokens, Gate(hidden))
        hung.add(prefix, near)
        prefixes.hang(hung, place.attention, prefix)
        after = Sequential(Network(hidden, width, "relu"), Gate(hidden))
        hung.add(after, near)
        hung.after(place.feed_forward, after)
    prefixes.check_seen(hung, base)
