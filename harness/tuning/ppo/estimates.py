"""What the tokens of answers were worth: advantages, returns, and how well they were foreseen.

All tensors are (rows, time), a mask is 1 on an answer's tokens and 0 on the padding behind them.
"""

import torch


def token_rewards(scores: torch.Tensor, divergence: torch.Tensor, mask: torch.Tensor, *, beta: float) -> torch.Tensor:
    """Return each token's reward: -beta times its divergence, and at an answer's last token its score besides.

    scores: (rows,). divergence: log-probability under the policy less that under the reference.
    Source: Ziegler et al., Fine-Tuning Language Models from Human Preferences (2019), equation 2.
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
