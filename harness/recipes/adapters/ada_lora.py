"""Low-rank updates whose ranks are handed out while training, to the layers that gain most."""

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import InvalidExperiment
from harness.recipes.adapters.low_rank import Targets, check_dropout, check_targets


@dataclass(frozen=True)
class AdaLoRA:
    """Low-rank updates in the form of a singular value decomposition, pruned to a budget (Zhang et al. 2023).

    rank: average rank of a layer at the end. initial_rank: rank of each layer at the start.
    alpha: an update's scale is alpha / initial_rank; None is 2 * initial_rank.
    warm: fraction of the steps before the first pruning. settled: fraction of the steps after the last one.
    every: steps between prunings. orthogonality: weight of the penalty that keeps the singular vectors orthogonal;
    it is part of what is trained on, and not of the losses that are logged.
    """

    rank: int = 8
    initial_rank: int = 12
    alpha: float | None = None
    dropout: float = 0.0
    targets: Targets = "all-linear"
    warm: float = 0.1
    settled: float = 0.3
    every: int = 1
    orthogonality: float = 0.5

    # The paper's rates on GLUE and question answering are 5e-4 to 3e-3 (Zhang et al. 2023, appendices E and F).
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (5e-4, 5e-3)
    merges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidExperiment(f"AdaLoRA(rank={self.rank}) trains nothing; give a rank of 1 or more, such as 8")
        if self.initial_rank <= self.rank:
            raise InvalidExperiment(
                f"AdaLoRA(rank={self.rank}, initial_rank={self.initial_rank}) leaves nothing to prune; give an "
                f"initial_rank above rank, such as {3 * self.rank // 2 + 1}, or use LoRA(rank={self.rank})"
            )
        if self.alpha is not None and self.alpha <= 0:
            raise InvalidExperiment(f"AdaLoRA(alpha={self.alpha}) switches the update off; leave it out")
        check_dropout("AdaLoRA", self.dropout)
        object.__setattr__(self, "targets", check_targets("AdaLoRA", self.targets))
        if not (self.warm >= 0 and self.settled >= 0 and self.warm + self.settled < 1):
            raise InvalidExperiment(
                f"AdaLoRA(warm={self.warm}, settled={self.settled}) are fractions of the steps, and what is left "
                "between them is when ranks are handed out; give two that sum to less than 1"
            )
        if self.every < 1:
            raise InvalidExperiment(f"AdaLoRA(every={self.every}): give 1 step or more")
        if not 0 <= self.orthogonality < float("inf"):
            raise InvalidExperiment(f"AdaLoRA(orthogonality={self.orthogonality}): give a weight of 0 or more")

    @property
    def scale(self) -> float:
        """alpha, with its default filled in."""
        return 2.0 * self.initial_rank if self.alpha is None else self.alpha

    @property
    def name(self) -> str:
        parts = [f"adalora-r{self.rank}", f"of{self.initial_rank}"]
        if self.scale != 2 * self.initial_rank:
            parts.append(f"alpha{self.scale:g}")
        said = {"dropout": 0.0, "warm": 0.1, "settled": 0.3, "every": 1, "orthogonality": 0.5}
        parts += [f"{field}{getattr(self, field):g}" for field, usual in said.items() if getattr(self, field) != usual]
        if self.targets != "all-linear":
            parts.append("+".join(self.targets))
        return "-".join(parts)
