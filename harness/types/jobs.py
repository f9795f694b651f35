"""One training run: what a trainer is handed, and what it hands back.

What a plan is made of: systems that answer, and stages of work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.types.models import AnyModel, Endpoint
from harness.types.protocols import Recipe, Strategy, Task
from harness.types.samples import Check, Example, Pair, Split, Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneJob:
    """One training run.

    Attributes:
        recipe: What is trained.
        model: What it starts from.
        train: The examples to learn.
        dev: The examples on which progress is measured.
        seed: Of the run.
        folder: Where checkpoints and the result go; it may hold those of an interrupted run.
        start: Folder of the tuned system that an earlier step left, None for the model as it is.
        reward: Folder of the reward model that an earlier step trained.
        pairs: Of a recipe that learns from preferences.
        dev_pairs: The same of DEV.
        votes: Of a recipe that learns from votes.
        dev_votes: The same of DEV.
        earlier: Training examples of the tasks of earlier steps, for recipes that keep what they taught.
        replay: Those of them that are learned again, beside `train`.
        task: What reads and scores answers if training asks for them.
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

    Args:
        seconds_before: What processes that were interrupted had spent on it, as far as their work was kept.
    """

    folder: Path
    log: tuple[LogPoint, ...]
    checks: tuple[Check, ...]
    tokens: int
    trainable_parameters: int
    total_parameters: int
    environment: Mapping[str, str | int | float | bool | None]
    seconds_before: float = 0.0


Kind = Literal["audit", "answer", "likelihood", "tune", "judge", "measure", "noise", "parity", "rendering", "timing"]


@dataclass(frozen=True)
class System:
    """One thing that answers: a prompted model, or a recipe's tuned model, one for each seed.

    share: the part of the training data it was tuned on. served: how it is asked, if not as it was tuned.
    """

    name: str
    role: Literal["baseline", "tuned"]
    strategy: Strategy
    model: AnyModel
    recipe: Recipe | None = None
    share: float = 1.0
    served: Strategy | None = None

    @property
    def asked(self) -> Strategy:
        return self.served or self.strategy

    @property
    def retrieves(self) -> bool:
        """Whether passages or shots are looked up for each prompt."""
        return bool(getattr(self.asked, "retrieves", False))

    @property
    def gives_likelihoods(self) -> bool:
        """A server is asked for them if its tokenizer is declared."""
        return not isinstance(self.model, Endpoint) or self.model.tokenizer is not None


@dataclass(frozen=True, slots=True)
class Round:
    """One round of asking a system. seed: it was trained with. repeat: which of several drawn answers, from 0."""

    seed: int = 0
    repeat: int = 0


@dataclass(frozen=True)
class Trial:
    """One task asked of what each step of a recipe left. systems: before any training, then after each step.

    Args:
        learned: Numbers of the steps, from 1, that trained on the task; none for a guard.
    """

    task: Task
    systems: tuple[System, ...]
    learned: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One piece of work, finished when the store has its key. part: which step of a recipe of several it trains."""

    key: str
    kind: Kind
    system: str
    split: Split | None
    seed: int
    task: str
    repeat: int = 0
    part: str = ""

    @property
    def label(self) -> str:
        where = f" on {self.split.value}" if self.split else ""
        seed = f", seed {self.seed}" if self.seed else ""
        repeat = f", answer {self.repeat + 1}" if self.repeat else ""
        part = f", {self.part}" if self.part else ""
        return f"{self.kind} {self.system}{part}{where}{seed}{repeat}"
