"""What a plan is made of: systems that answer, and stages of work."""

from dataclasses import dataclass
from typing import Literal

from harness.models import AnyModel, Endpoint
from harness.protocols import Recipe, Strategy, Task
from harness.samples import Split

Kind = Literal["audit", "answer", "likelihood", "tune", "judge", "measure", "noise", "parity", "rendering", "timing"]


@dataclass(frozen=True)
class System:
    """One thing that answers: a prompted model, or a recipe's tuned model (one a seed).

    share: the part of the training data it was tuned on. served: how it is asked, where that is not as it was tuned.
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
    def gives_likelihoods(self) -> bool:
        """A server is asked for them where its tokenizer is declared."""
        return not isinstance(self.model, Endpoint) or self.model.tokenizer is not None


@dataclass(frozen=True)
class Trial:
    """One task asked of what each step of a recipe left. systems: before any training, then after each step.

    learned: numbers of the steps, from 1, that trained on the task; none for a guard.
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
