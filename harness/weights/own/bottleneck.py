"""Adapters of two linear layers: between sublayers (Houlsby, Pfeiffer), and beside the feed-forward network (MAM)."""

from typing import Any

import torch
from torch import nn

from harness.recipes.adapters import Bottleneck
from harness.weights.own.gate import Gate
from harness.weights.own.hung import Hung
from harness.weights.own.places import hidden_size, places

_ACTIVATIONS = {
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


class Network(nn.Module):
    """W_up f(W_down h + b_down) + b_up. W_up and b_up start at 0, so that nothing changes at first.

    W_down starts as in LoRA and in He et al. 2022: uniform within 1 / sqrt(hidden).
    """

    def __init__(self, hidden: int, width: int, activation: str) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(hidden, width), nn.Linear(width, hidden)
        self.activation = activation
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the update, in the dtype of the weights. states: (..., hidden)."""
        inner = _ACTIVATIONS[self.activation](self.down(states.to(self.down.weight.dtype)))
        update: torch.Tensor = self.up(inner)
        return update


class Sequential(nn.Module):
    """h + g network(h), h the sublayer's output; g is 1 or a gate's value of h."""

    def __init__(self, network: Network, gate: Gate | None = None) -> None:
        super().__init__()
        self.network, self.gate = network, gate

    def forward(self, _: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """See `harness.weights.own.hung.Change`."""
        update = self.network(states)
        if self.gate is not None:
            update = update * self.gate(states)
        changed: torch.Tensor = states + update.to(states.dtype)
        return changed


class Parallel(nn.Module):
    """h + scale network(x), x the sublayer's input and h its output."""

    def __init__(self, network: Network, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, inputs: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """See `harness.weights.own.hung.Change`."""
        update: torch.Tensor = self.network(inputs) * self.scale
        return states + update.to(states.dtype)


def narrowed(base: Any, reduction: int) -> int:
    """Return the width of an adapter: the hidden width over `reduction`, at least 1."""
    return max(1, hidden_size(base) // reduction)


def hang(hung: Hung, base: Any, declared: Bottleneck) -> None:
    """Hang a sequential adapter after the feed-forward network of each layer, and for Houlsby after attention too."""
    width = narrowed(base, declared.reduction)
    for place in places(base):
        sublayers = [place.feed_forward] if declared.kind == "pfeiffer" else [place.attention, place.feed_forward]
        for sublayer in sublayers:
            part = Sequential(Network(hidden_size(base), width, declared.activation))
            hung.add(part, next(sublayer.parameters()))
            hung.after(sublayer, part)
