"""REINFORCE leave-one-out: an answer is learned as far as it beats the others to the same prompt."""

import math
from dataclasses import dataclass
from typing import ClassVar

from harness.recipes.reinforced import Reinforced


@dataclass(frozen=True, kw_only=True)
class RLOO(Reinforced):
    """Draw `generations` answers a prompt; the baseline of each is the others' mean reward (Ahmadian et al. 2024).

    generations: answers a prompt. beta: weight of the divergence from the model that training starts from, taken off
    the reward. normalise: divide advantages by their deviation over the batch.
    """

    batch_size: int = 4
    generations: int = 4
    beta: float = 0.05
    normalise: bool = False

    trainer: ClassVar[str] = "harness.tuning.rloo:fit"
    method: ClassVar[str] = "rloo"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generations < 2:
            raise self.refused(f"generations={self.generations}", "nothing is left to compare with; give 2 or more")
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise self.refused(f"beta={self.beta}", "give a number of 0 or more")
