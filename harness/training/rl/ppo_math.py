"""What the tokens of answers were worth: advantages, returns, and how well they were foreseen.

All tensors are (rows, time), a mask is 1 on an answer's tokens and 0 on the padding behind them.

One batch of answers that is learned from: what was drawn, what it was worth, what was thought of it then.

How much the divergence from the start costs, steered so that it stays near a target.

The clipped losses of proximal policy optimisation, summed over the tokens of the mask.

All tensors are (rows, time).
Source: Schulman et al., Proximal Policy Optimization Algorithms (2017), equations 7 and 9.

The value head: what an answer is worth from each token on, read off the policy's last states.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from harness.inference.models.loading import side_by_side
from harness.training.rl.rewards import Completed


def token_rewards(scores: torch.Tensor, divergence: torch.Tensor, mask: torch.Tensor, *, beta: float) -> torch.Tensor:
    """Return each token's reward: -beta times its divergence, and at an answer's last token its score besides.

    Args:
        scores: (rows,).
        divergence: Log-probability under the policy less that under the reference. Source: Ziegler et al.,
            Fine-Tuning Language Models from Human Preferences (2019), equation 2.
    """
    rewards = -beta * divergence * mask
    last = mask.sum(dim=-1).long() - 1
    rewards[torch.arange(len(rewards)), last] += scores
    return rewards


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, *, gamma: float, trace: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return advantages and returns; after an answer's last token there is nothing to gain.

    Source: Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation (2016),
    equation 16. The return is the advantage plus the value.
    """
    rewards, values = rewards * mask, values * mask
    advantages = torch.zeros_like(rewards)
    later = torch.zeros(len(rewards), dtype=rewards.dtype, device=rewards.device)
    for step in reversed(range(rewards.shape[1])):
        following = values[:, step + 1] if step + 1 < rewards.shape[1] else torch.zeros_like(later)
        surprise = rewards[:, step] + gamma * following - values[:, step]
        later = surprise + gamma * trace * later
        advantages[:, step] = later
    return advantages * mask, (advantages + values) * mask


def whiten(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return `values` with mean 0 and deviation 1 over the mask; without any spread they are all 0."""
    count = mask.sum()
    mean = (values * mask).sum() / count
    variance = ((values - mean).square() * mask).sum() / count
    return (values - mean) / (variance.sqrt() + 1e-8) * mask


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """Return the share of the returns' variance that `values` foresaw: 1 is all, 0 no more than a constant would.

    Without variance there is nothing to explain and the share is 0.
    """
    seen = mask.bool()
    spread = returns[seen].var(correction=0)
    if float(spread) == 0:
        return 0.0
    return float(1 - (returns[seen] - values[seen]).var(correction=0) / spread)


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


def lay_out_batch(
    prompts: Sequence[Sequence[int]], completions: Sequence[Completed], *, pad: int, device: torch.device
) -> Answers:
    """Return prompts, padded on the left, and their answers, padded on the right."""
    left, left_mask = side_by_side(prompts, pad, left=True)
    right, drawn = side_by_side([one.tokens for one in completions], pad, left=False)
    ids, mask = torch.cat([left, right], dim=1), torch.cat([left_mask, drawn], dim=1)
    return Answers(ids.to(device), mask.to(device), drawn.to(device))


_FURTHEST = 0.2


@dataclass(frozen=True, slots=True)
class Coefficient:
    """beta: cost of a nat. target: nats an answer; None keeps beta. horizon: answers over which it is steered."""

    beta: float
    target: float | None
    horizon: int

    def after(self, divergence: float, *, answers: int) -> "Coefficient":
        """Return the coefficient after so many answers of this mean divergence, in nats an answer.

        Source: Ziegler et al., Fine-Tuning Language Models from Human Preferences (2019), section 2.2.
        """
        if self.target is None:
            return self
        error = min(max(divergence / self.target - 1, -_FURTHEST), _FURTHEST)
        return replace(self, beta=self.beta * (1 + error * answers / self.horizon))


@dataclass(frozen=True)
class Clipped:
    """total: the summed loss. clipped: how many tokens' losses the bound decided."""

    total: torch.Tensor
    clipped: torch.Tensor


def policy_loss(
    logprobs: torch.Tensor, before: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, *, clip: float
) -> Clipped:
    """Return the loss of moving the probability ratio; a step past 1 -+ `clip` gains nothing.

    Args:
        before: Log-probabilities under the policy that drew the answers.
    """
    ratio = (logprobs - before).exp()
    free, bounded = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return Clipped(-(torch.min(free, bounded) * mask).sum(), ((bounded < free) * mask).sum())


def value_loss(
    values: torch.Tensor, before: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, *, clip: float
) -> Clipped:
    """Return half the squared error of `values`; one that moved further than `clip` from `before` gains nothing."""
    bounded = before + (values - before).clamp(-clip, clip)
    free, held = (values - returns).square(), (bounded - returns).square()
    return Clipped(0.5 * (torch.max(free, held) * mask).sum(), ((held > free) * mask).sum())


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
