"""Group relative policy optimisation: several answers to a prompt, each learned as far as it beats its group."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from harness.recipes.reinforced import Reinforced

GroupLoss = Literal["dapo", "grpo", "dr_grpo", "bnpo"]
GroupScale = Literal["group", "batch", "none"]


@dataclass(frozen=True, kw_only=True)
class GRPO(Reinforced):
    """Draw `generations` answers a prompt; an answer's advantage is its reward minus the group mean (Shao et al. 2024).

    generations: answers a prompt. beta: weight of the divergence from the model that training starts from; 0 holds it
    to nothing and needs no second model.
    loss: "grpo" as in the paper; "dapo" weighs all tokens of a batch alike (Yu et al. 2025), "dr_grpo" by the longest
    answer allowed (Liu et al. 2025), "bnpo" by the tokens of the part in memory.
    scale: what advantages are divided by: the deviation of the "group", of the whole "batch", or "none".
    """

    batch_size: int = 4
    generations: int = 8
    beta: float = 0.0
    loss: GroupLoss = "dapo"
    scale: GroupScale = "group"

    trainer: ClassVar[str] = "harness.tuning.grpo:fit"
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
