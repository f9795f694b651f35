"""Proximal policy optimisation: answers learned by clipped steps against a learned estimate of their value."""

import math
from dataclasses import dataclass
from typing import ClassVar

from harness.recipes.reinforced import Reinforced


@dataclass(frozen=True, kw_only=True)
class PPO(Reinforced):
    """Draw an answer a prompt, and take several clipped steps on the batch (Schulman et al. 2017).

    The reward is that of the graders or the reward model at the answer's end, less beta times the divergence from the
    model that training starts from at each token (Ziegler et al. 2019).

    passes: how often a batch of answers is learned from. minibatches: updates a pass.
    beta: coefficient of the divergence. kl_target: nats an answer that the coefficient is steered to; None keeps it
    fixed. kl_horizon: answers over which it is steered. kl_limit: nats an answer at which the run ends as run away.
    gamma, trace: discount, and the decay of generalised advantage estimation (Schulman et al. 2016).
    clip: how far a step may move a token's probability ratio from 1. value_clip: the same for a value estimate.
    value_rate: learning rate of the value head, a small network on the policy's last states. It is no part of what is
    served.
    """

    batch_size: int = 16
    beta: float = 0.05
    passes: int = 4
    minibatches: int = 1
    kl_target: float | None = 6.0
    kl_horizon: int = 10_000
    kl_limit: float = 50.0
    gamma: float = 1.0
    trace: float = 0.95
    clip: float = 0.2
    value_clip: float = 0.2
    value_rate: float = 1e-3

    trainer: ClassVar[str] = "harness.tuning.ppo.fit:fit"
    method: ClassVar[str] = "ppo"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_counts(("passes", "minibatches", "kl_horizon"))
        if self.batch_size % self.minibatches:
            raise self.refused(
                f"batch_size={self.batch_size}, minibatches={self.minibatches}", "minibatches must divide batch_size"
            )
        part = self.batch_size // self.minibatches
        if self.micro_batch_size is not None and part % self.micro_batch_size:
            raise self.refused(
                f"batch_size={self.batch_size}, minibatches={self.minibatches}, "
                f"micro_batch_size={self.micro_batch_size}",
                f"a minibatch has {part} answers; micro_batch_size must divide it",
            )
        for name in ("gamma", "trace"):
            if not 0 <= getattr(self, name) <= 1:
                raise self.refused(f"{name}={getattr(self, name)}", "give a number from 0 to 1")
        for name in ("clip", "value_clip", "value_rate", "kl_limit"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise self.refused(f"{name}={getattr(self, name)}", "give a number above 0")
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise self.refused(f"beta={self.beta}", "give a number of 0 or more")
        if self.kl_target is not None and not (0 < self.kl_target < self.kl_limit):
            raise self.refused(
                f"kl_target={self.kl_target}, kl_limit={self.kl_limit}", "give 0 < kl_target < kl_limit, or None"
            )
