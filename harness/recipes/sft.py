"""Supervised fine-tuning: learn the reference answers, given the prompts as they will be served."""

from dataclasses import dataclass
from typing import ClassVar

from harness.recipes.trained import Trained


@dataclass(frozen=True, kw_only=True)
class SFT(Trained):
    """Train on (prompt, reference answer) pairs; the loss counts the answer's tokens and its end token only."""

    trainer: ClassVar[str] = "harness.tuning.sft:fit"
    method: ClassVar[str] = "sft"
