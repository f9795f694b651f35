"""A reward model: which of two answers would be preferred, as one number an answer."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.recipes.preferences import as_path, key_of
from harness.recipes.trained import Trained


@dataclass(frozen=True, kw_only=True)
class RewardModel(Trained):
    """Train a model with one output to score the chosen answer above the rejected one (Bradley and Terry).

    It answers nothing itself: a step of `Steps` that PPO or RLOO learn from.

    pairs: file of preference rows (prompt, chosen, rejected); None takes the task's own `Sample.rejected`.
    at_least: share of held-out pairs that it must order rightly; below it the evidence is invalid, since what learns
    from a worse model learns noise. 0.5 is chance.
    """

    pairs: str | None = None
    at_least: float = 0.6

    trainer: ClassVar[str] = "harness.tuning.reward_model:fit"
    method: ClassVar[str] = "reward"
    makes: ClassVar[Literal["policy", "reward"]] = "reward"
    # InstructGPT's reward model was tuned at 9e-6, all weights; SFT takes 2e-5.
    rate_factor: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pairs", as_path(self.pairs))
        if not 0 <= self.at_least <= 1:
            raise self.refused(f"at_least={self.at_least}", "is a share of pairs; give 0 <= at_least <= 1")

    def content_key(self) -> str | None:
        """Return the sha256 of the pairs file, None where the task brings the pairs."""
        return key_of(self.pairs)
