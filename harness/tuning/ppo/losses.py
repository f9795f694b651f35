"""The clipped losses of proximal policy optimisation, summed over the tokens of the mask.

All tensors are (rows, time).
Source: Schulman et al., Proximal Policy Optimization Algorithms (2017), equations 7 and 9.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Clipped:
    """total: the summed loss. clipped: how many tokens' losses the bound decided."""

    total: torch.Tensor
    clipped: torch.Tensor


def policy_loss(
    logprobs: torch.Tensor, before: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, *, clip: float
) -> Clipped:
    """Return the loss of moving the probability ratio; a step past 1 -+ `clip` gains nothing.

    before: log-probabilities under the policy that drew the answers.
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
