"""What the methods that learn from rewards have in common: graders, and how completions are drawn.

Group relative policy optimisation: several answers to a prompt, each learned as far as it beats its group.

Proximal policy optimisation: answers learned by clipped steps against a learned estimate of their value.

REINFORCE leave-one-out: an answer is learned as far as it beats the others to the same prompt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from harness.recipes.base import Trained
from harness.recipes.graders import Reward, Weighted, as_weighted


@dataclass(frozen=True, kw_only=True)
class Reinforced(Trained):
    """The fields that every method shares which learns from rewards of its own completions: `GRPO` says what each
    is.
    """

    epochs: float = 1
    # A list of several kinds, kept in a variable, is a list of objects to a type checker.
    reward: Reward | Sequence[object] | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    failure: float = 0.0
    grader_seconds: float = 10.0

    # Rewards are noisier than answers: best rates found lie at a tenth of supervised tuning's.
    rate_factor: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reward is not None:
            graders = as_weighted(self.reward)
            if not graders:
                raise self.refused("reward=()", "nothing is rewarded; give a grader such as ExactMatch()")
            object.__setattr__(self, "reward", graders)
        self.check_counts(("max_tokens",))
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise self.refused(
                f"temperature={self.temperature}", "draws one and the same answer, so no answer is better; give 1.0"
            )
        if not 0 < self.top_p <= 1:
            raise self.refused(f"top_p={self.top_p}", "is a share; give more than 0, at most 1")
        if not math.isfinite(self.failure):
            raise self.refused(f"failure={self.failure}", "give a finite score, such as 0")
        if not self.grader_seconds > 0:
            raise self.refused(f"grader_seconds={self.grader_seconds}", "leaves a grader no time; give 10")
        if self.watch is not None:
            raise self.refused(
                f"watch={self.watch.name}", "the reward on DEV chooses the checkpoint; add the metric to reward"
            )
        if self.learning_rate == "find":
            raise self.refused(
                "learning_rate='find'", "a range test needs a loss that falls; give a rate or leave it out"
            )

    @property
    def graders(self) -> tuple[Weighted, ...]:
        """What makes up the reward; empty if a reward model gives it."""
        return self.reward if isinstance(self.reward, tuple) else ()

    @property
    def needs_reward_model(self) -> bool:
        return self.reward is None


GroupLoss = Literal["dapo", "grpo", "dr_grpo", "bnpo"]
GroupScale = Literal["group", "batch", "none"]


@dataclass(frozen=True, kw_only=True)
class GRPO(Reinforced):
    """Draw `generations` answers to each prompt; an answer's advantage is its reward less the group's mean.

    The checkpoint of the best mean reward of greedy answers on DEV is kept.

    Args:
        reward: One grader or several, whose weighted sum is the reward: a metric of single answers, a function of
            (sample, answer), `JudgeGrade(model)`, each alone or as `Weighted(grader, weight)`. None is the reward model
            that an earlier step of `Steps` trained.
        batch_size: Prompts of a step.
        micro_batch_size: Prompts whose completions are in memory at once; None is all.
        temperature: At which completions are drawn, above 0.
        top_p: The share of probability that is drawn from, above 0 to 1.
        max_tokens: Most tokens of a completion; None is the task's.
        failure: The score of a grader that raises or takes longer than `grader_seconds`; each is counted.
        grader_seconds: What a grader may take for one completion.
        generations: Answers to a prompt, 2 or more.
        beta: Weight of the divergence from the model that training starts from; 0 holds it to nothing and needs no
            second model.
        loss: "grpo" as in the paper; "dapo" weighs all tokens of a batch alike (Yu et al. 2025), "dr_grpo" by the
            longest answer allowed (Liu et al. 2025), "bnpo" by the tokens of the part in memory.
        scale: What advantages are divided by: the deviation of the "group", of the whole "batch", or "none".

    The other fields are those of `SFT`, from `adapter` to `label`, without `watch`.

    Raises:
        InvalidExperiment: If a field is out of its range, or two contradict each other.

    Source: Shao et al., DeepSeekMath (2024).

    Examples:
        >>> GRPO(reward=[ExactMatch(), Weighted(TokensOut(), 0.01)], generations=4).name
        'grpo lora-r16 reward=exact_match+0.01*tokens_out generations=4'
    """

    batch_size: int = 4
    generations: int = 8
    beta: float = 0.0
    loss: GroupLoss = "dapo"
    scale: GroupScale = "group"

    trainer: ClassVar[str] = "harness.training.rl.grpo:fit"
    method: ClassVar[str] = "grpo"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generations < 2:
            raise self.refused(f"generations={self.generations}", "one answer has no group to beat; give 2 or more")
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise self.refused(f"beta={self.beta}", "give a number of 0 or more")
        if self.loss not in get_args(GroupLoss):
            raise self.refused(f"loss={self.loss!r}", f"give one of {', '.join(get_args(GroupLoss))}")
        if self.scale not in get_args(GroupScale):
            raise self.refused(f"scale={self.scale!r}", f"give one of {', '.join(get_args(GroupScale))}")


@dataclass(frozen=True, kw_only=True)
class PPO(Reinforced):
    """Draw an answer to each prompt, and take several clipped steps on the batch (Schulman et al. 2017).

    The reward is that of the graders or the reward model at the answer's end, less beta times the divergence from the
    model that training starts from at each token (Ziegler et al. 2019).

    Args:
        batch_size: Prompts of a step.
        beta: Coefficient of the divergence, 0 or more.
        passes: How often a batch of answers is learned from.
        minibatches: Updates of a pass, a divisor of `batch_size`.
        kl_target: Nats of an answer that the coefficient is steered to; None keeps it fixed.
        kl_horizon: Answers over which it is steered.
        kl_limit: Nats of an answer at which the run ends as run away.
        gamma: Discount, 0 to 1.
        trace: Decay of generalised advantage estimation (Schulman et al. 2016), 0 to 1.
        clip: How far a step may move a token's probability ratio from 1.
        value_clip: The same for a value estimate.
        value_rate: Learning rate of the value head, a small network on the policy's last states. It is no part of what
            is served.

    The other fields are those of `GRPO`, from `reward` to `grader_seconds`, and of `SFT`, from `adapter` to `label`.

    Raises:
        InvalidExperiment: If a field is out of its range, or two contradict each other.

    Examples:
        >>> PPO(reward=ExactMatch(), passes=2).name
        'ppo lora-r16 reward=exact_match passes=2'
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

    trainer: ClassVar[str] = "harness.training.rl.ppo:fit"
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


@dataclass(frozen=True, kw_only=True)
class RLOO(Reinforced):
    """Draw `generations` answers to each prompt; the baseline of each is the others' mean reward (Ahmadian et al.
    2024).

    Args:
        batch_size: Prompts of a step.
        generations: Answers to a prompt, 2 or more.
        beta: Weight of the divergence from the model that training starts from, taken off the reward; 0 or more.
        normalise: Divide advantages by their deviation over the batch.

    The other fields are those of `GRPO`, from `reward` to `grader_seconds`, and of `SFT`, from `adapter` to `label`.

    Raises:
        InvalidExperiment: If a field is out of its range, or two contradict each other.

    Examples:
        >>> RLOO(reward=ExactMatch(), normalise=True).name
        'rloo lora-r16 reward=exact_match normalise=True'
    """

    batch_size: int = 4
    generations: int = 4
    beta: float = 0.05
    normalise: bool = False

    trainer: ClassVar[str] = "harness.training.rl.grpo:fit_rloo"
    method: ClassVar[str] = "rloo"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generations < 2:
            raise self.refused(f"generations={self.generations}", "nothing is left to compare with; give 2 or more")
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise self.refused(f"beta={self.beta}", "give a number of 0 or more")
