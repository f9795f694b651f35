"""Direct preference optimisation and its kin: learn from pairs of a better and a worse answer."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from harness.recipes.preferences import as_path, key_of
from harness.recipes.trained import Trained

PairLoss = Literal["sigmoid", "ipo", "hinge", "robust", "apo_zero", "apo_down", "simpo"]
_BETA, _SIMPO_BETA = 0.1, 2.0


@dataclass(frozen=True, kw_only=True)
class DPO(Trained):
    """Raise the chosen answer above the rejected one, held to the model that training starts from.

    pairs: file of preference rows (prompt, chosen, rejected); None takes the task's own `Sample.rejected`.
    beta: how tightly the policy is held to its reference, in SimPO the scale of the reward; None is 0.1, for SimPO 2.
    loss: "sigmoid" is DPO (Rafailov et al. 2023), "ipo" Azar et al. 2023, "hinge" SLiC (Zhao et al. 2023), "robust"
    Chowdhury et al. 2024, "apo_zero" and "apo_down" D'Oosterlinck et al. 2024; "simpo" (Meng et al. 2024) compares
    mean log-probabilities of a token and needs no reference.
    margin: SimPO's target margin of the reward. label_smoothing: share of pairs believed to be swapped, for "robust".
    sft_weight: weight of the chosen answer's own loss, added to that of the pair.
    """

    pairs: str | None = None
    beta: float | None = None
    loss: PairLoss = "sigmoid"
    margin: float = 1.0
    label_smoothing: float = 0.0
    sft_weight: float = 0.0

    trainer: ClassVar[str] = "harness.tuning.dpo:fit"
    method: ClassVar[str] = "dpo"
    # TRL's default for all weights is 1e-6, that of SFT 2e-5.
    rate_factor: ClassVar[float] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pairs", as_path(self.pairs))
        if self.loss not in get_args(PairLoss):
            raise self.refused(f"loss={self.loss!r}", f"give one of {', '.join(get_args(PairLoss))}")
        if not (math.isfinite(self.strength) and self.strength > 0):
            raise self.refused(f"beta={self.beta}", "give a number above 0, such as 0.1")
        if not 0 <= self.label_smoothing < 0.5:
            raise self.refused(f"label_smoothing={self.label_smoothing}", "give 0 or more, below 0.5")
        if self.label_smoothing and self.loss != "robust":
            raise self.refused(f"label_smoothing={self.label_smoothing}, loss={self.loss!r}", 'add loss="robust"')
        if not (math.isfinite(self.sft_weight) and self.sft_weight >= 0):
            raise self.refused(f"sft_weight={self.sft_weight}", "give a number of 0 or more")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise self.refused(f"margin={self.margin}", "give a number of 0 or more")

    @property
    def strength(self) -> float:
        """beta, with its default filled in."""
        if self.beta is not None:
            return self.beta
        return _SIMPO_BETA if self.loss == "simpo" else _BETA

    def content_key(self) -> str | None:
        """Return the sha256 of the pairs file, None where the task brings the pairs."""
        return key_of(self.pairs)
