"""The value head: what an answer is worth from each token on, read off the policy's last states."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FILE = "value_head.safetensors"


class ValueHead(nn.Module):
    """One hidden layer; a new head says 0 of everything.

    Its gradient does not reach the policy, whose states are its input: the value of an answer is learned beside it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return values, (rows, time), of `states`, (rows, time, width)."""
        values: torch.Tensor = self.out(torch.tanh(self.hidden(states.detach()))).squeeze(-1)
        return values

    def save(self, folder: Path) -> None:
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        self.load_state_dict(load_file(folder / FILE))
