"""One training run: what a trainer is handed, and what it hands back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.models import AnyModel
from harness.protocols import Recipe, Task
from harness.samples import Check, Example, Pair, Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneJob:
    """One training run. folder: where checkpoints and the result go; it may hold those of an interrupted run.

    start: folder of the tuned system that an earlier step left, None for the model as it is. reward: folder of the
    reward model that an earlier step trained. pairs, votes: of a recipe that learns from preferences. earlier:
    training examples of the tasks of earlier steps, for recipes that keep what they taught. replay: those of them that
    are learned again, beside `train`. task: what reads and scores answers where training asks for them.
    """

    recipe: Recipe
    model: AnyModel
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    seed: int
    folder: Path
    start: Path | None = None
    reward: Path | None = None
    pairs: tuple[Pair, ...] = ()
    dev_pairs: tuple[Pair, ...] = ()
    votes: tuple[Vote, ...] = ()
    dev_votes: tuple[Vote, ...] = ()
    earlier: tuple[Example, ...] = ()
    replay: tuple[Example, ...] = ()
    task: Task | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPoint:
    """One value of a training log: loss, dev_loss, learning_rate, grad_norm, tokens, and what a method adds."""

    step: int
    epoch: float
    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """What a trainer returns. folder: what `Engine.use` loads. tokens: trained on, prompt included.

    seconds_before: what processes that were interrupted had spent on it, as far as their work was kept.
    """

    folder: Path
    log: tuple[LogPoint, ...]
    checks: tuple[Check, ...]
    tokens: int
    trainable_parameters: int
    total_parameters: int
    environment: Mapping[str, str | int | float | bool | None]
    seconds_before: float = 0.0
