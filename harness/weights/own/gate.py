"""A gate: how much of an adapter's work a token takes, learned from the token's own state."""

import torch
from torch import nn


class Gate(nn.Module):
    """sigmoid(w h + b), one number a token; it starts near 1/2.

    Mao et al. 2022 average it over the text. A mean over later tokens would make a token's output depend on them, and
    an answer that is generated on its length; each token's own value does not.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the gate's values, (..., 1). states: (..., width)."""
        return torch.sigmoid(self.linear(states.to(self.linear.weight.dtype)))
