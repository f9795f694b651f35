"""What the methods that learn from rewards have in common: graders, and how completions are drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.recipes.graders import Reward, Weighted, as_weighted
from harness.recipes.trained import Trained


@dataclass(frozen=True, kw_only=True)
class Reinforced(Trained):
    """The fields that every method shares which learns from rewards of its own completions.

    reward: one grader or several, whose weighted sum is the reward: a metric of single answers, a function of
    (sample, answer), JudgeGrade(model), each alone or as Weighted(grader, weight). None is the reward model that an
    earlier step of Steps trained.
    batch_size: prompts a step. micro_batch_size: prompts whose completions are in memory at once.
    temperature, top_p: how completions are drawn. max_tokens: most tokens of one; None is the task's.
    failure: the score that a grader gives which raises or takes longer than grader_seconds; each is counted.
    The checkpoint of the best mean reward of greedy answers on DEV is kept.
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
        """What makes up the reward; empty where a reward model gives it."""
        return self.reward if isinstance(self.reward, tuple) else ()

    @property
    def needs_reward_model(self) -> bool:
        return self.reward is None
