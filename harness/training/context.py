"""What a training run is made of before it starts: what was begun, and the course that a method makes of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.recipes import Trained
from harness.training.callbacks import CheckpointGoal
from harness.training.config import Precision
from harness.training.network import StartingPoint
from harness.training.rows import TokenizedRow
from harness.types.jobs import TuneJob
from harness.types.samples import Check


@dataclass(frozen=True)
class TrainingContext:
    """What a method's trainer is made from. checkpoints: folder of them. resumed: the one that training goes on from.

    longest: most tokens of a row.
    """

    job: TuneJob
    recipe: Any
    ground: StartingPoint
    precision: Precision
    tokenizer: Any
    network: Any
    longest: int | None
    checkpoints: Path
    resumed: Path | None
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class TrainingSession:
    """A trainer that is ready to go, and how it is to be watched.

    rows: training rows on which base, trained and saved system are compared. evaluates: whether there is anything to
    evaluate on. goal: what chooses the checkpoint. likelihood: the loss is a mean over tokens of a log-likelihood, so
    that its size tells when training diverges. logged: what the method logs besides, trainer's key -> name.
    environment: what the stage's record says besides. later: checks that only the end of training can make.
    """

    trainer: Any
    rows: list[TokenizedRow]
    steps: int
    evaluates: bool
    checks: tuple[Check, ...] = ()
    goal: CheckpointGoal = field(default_factory=CheckpointGoal)
    likelihood: bool = True
    logged: Mapping[str, str] = field(default_factory=dict)
    environment: Callable[[], Mapping[str, str | int | float | bool | None]] = dict
    later: Callable[[], tuple[Check, ...]] = tuple


def steps_of(recipe: Trained, rows: int) -> int:
    """Return how many updates the whole run has, as the trainer counts them."""
    micro = recipe.micro_batch_size or recipe.batch_size
    updates = math.ceil(math.ceil(rows / micro) / (recipe.batch_size // micro))
    return math.ceil(recipe.epochs * updates)
