"""One batch of answers that is learned from: what was drawn, what it was worth, what was thought of it then."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from harness.tuning.grading import Completed
from harness.tuning.rollouts import side_by_side


@dataclass(frozen=True)
class Answers:
    """Tokens of prompts and answers. ids, mask: (rows, time). drawn: (rows, answer), 1 on an answer's tokens."""

    ids: torch.Tensor
    mask: torch.Tensor
    drawn: torch.Tensor

    @property
    def width(self) -> int:
        return self.drawn.shape[1]


@dataclass(frozen=True)
class Rollout:
    """Answers with what learning needs, each (rows, answer): of the policy that drew them, and of its critic."""

    ids: torch.Tensor
    mask: torch.Tensor
    drawn: torch.Tensor
    logprobs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: torch.Tensor) -> "Rollout":
        """Return some of its rows."""
        return Rollout(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def parts(self, size: int) -> list["Rollout"]:
        """Return it in pieces of at most `size` rows."""
        return [self.take(rows) for rows in torch.split(torch.arange(len(self), device=self.ids.device), size)]


def lay_out(
    prompts: Sequence[Sequence[int]], completions: Sequence[Completed], *, pad: int, device: torch.device
) -> Answers:
    """Return prompts, padded on the left, and their answers, padded on the right."""
    left, left_mask = side_by_side(prompts, pad, left=True)
    right, drawn = side_by_side([one.tokens for one in completions], pad, left=False)
    ids, mask = torch.cat([left, right], dim=1), torch.cat([left_mask, drawn], dim=1)
    return Answers(ids.to(device), mask.to(device), drawn.to(device))
