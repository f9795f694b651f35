"""ORPO: supervised tuning and preference in one loss, without a reference."""

import math
from dataclasses import dataclass
from typing import ClassVar

from harness.recipes.preferences import as_path, key_of
from harness.recipes.trained import Trained


@dataclass(frozen=True, kw_only=True)
class ORPO(Trained):
    """Learn the chosen answer, and its odds over the rejected one (Hong et al. 2024).

    pairs: file of preference rows (prompt, chosen, rejected); None takes the task's own `Sample.rejected`.
    beta: weight of the odds-ratio term; the paper's lambda.
    """

    pairs: str | None = None
    beta: float = 0.1

    trainer: ClassVar[str] = "harness.tuning.orpo:fit"
    method: ClassVar[str] = "orpo"
    # The paper tunes all weights at 8e-6 where SFT takes 2e-5: most of the loss is SFT's own.
    rate_factor: ClassVar[float] = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pairs", as_path(self.pairs))
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise self.refused(f"beta={self.beta}", "give a number above 0, such as 0.1")

    def content_key(self) -> str | None:
        """Return the sha256 of the pairs file, None where the task brings the pairs."""
        return key_of(self.pairs)
