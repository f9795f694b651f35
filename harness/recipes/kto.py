"""KTO: learn from single answers found good or bad."""

import math
from dataclasses import dataclass
from typing import ClassVar

from harness.recipes.preferences import as_path, key_of
from harness.recipes.trained import Trained


@dataclass(frozen=True, kw_only=True)
class KTO(Trained):
    """Raise good answers and lower bad ones, held to the model that training starts from (Ethayarajh et al. 2024).

    votes: file of rows with prompt, completion and label (true is good), or of preference rows, whose two answers are
    a good and a bad one; None takes the task's own references and `Sample.rejected`.
    beta: how tightly the policy is held to its reference.
    desirable_weight, undesirable_weight: of good and of bad answers; weigh the rarer kind up where they are unequal.
    """

    votes: str | None = None
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    trainer: ClassVar[str] = "harness.tuning.kto:fit"
    method: ClassVar[str] = "kto"
    # TRL's default for all weights is 1e-6, the paper's 5e-7; SFT takes 2e-5.
    rate_factor: ClassVar[float] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "votes", as_path(self.votes))
        for name in ("beta", "desirable_weight", "undesirable_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise self.refused(f"{name}={value}", "give a number above 0")
        if (self.micro_batch_size or self.batch_size) < 2:
            # The divergence is estimated from answers that stand beside another prompt of the batch.
            raise self.refused(
                f"batch_size={self.batch_size}, micro_batch_size={self.micro_batch_size}",
                "the divergence from the reference is estimated within a batch in memory; give 2 or more",
            )

    def content_key(self) -> str | None:
        """Return the sha256 of the votes file, None where the task brings the votes."""
        return key_of(self.votes)
