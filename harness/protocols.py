"""What a user may implement. Members are read-only properties, so that frozen dataclasses satisfy them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.models import AnyModel
from harness.samples import Answer, Completion, Decoding, Likelihood, Messages, Passage, Sample, Score, Split

Direction = Literal["higher", "lower"]
FloatArray = NDArray[np.float64]


@runtime_checkable
class Task(Protocol):
    """What is asked. Optional members: `corpus()`, `choices`, `answer_tokens`."""

    @property
    def name(self) -> str: ...
    def samples(self, split: Split) -> Sequence[Sample]: ...
    def prompt(self, sample: Sample) -> Messages:
        """Return the zero-shot conversation: it ends with a user message."""
        ...

    def read(self, text: str) -> object | None:
        """Return the JSON-able value of an answer, or None where it cannot be read."""
        ...


@runtime_checkable
class HasCorpus(Protocol):
    def corpus(self) -> Sequence[Passage]: ...


@runtime_checkable
class HasChoices(Protocol):
    """A task with choices is answered by the choice of highest likelihood, not by generation."""

    @property
    def choices(self) -> Sequence[str]: ...


@runtime_checkable
class Strategy(Protocol):
    """How a system is prompted."""

    @property
    def name(self) -> str: ...
    def messages(self, task: Task, sample: Sample) -> Messages: ...


Prompter = Callable[[Sample], Messages]


@runtime_checkable
class Bindable(Protocol):
    """A strategy that prepares something once a task: an index, a drawn set of shots."""

    def bind(self, task: Task) -> Prompter: ...


@runtime_checkable
class Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def better(self) -> Direction: ...


@runtime_checkable
class Metric(Named, Protocol):
    """One score a sample. A metric that sets `needs_likelihood = True` finds `answer.likelihood` filled in."""

    def score(self, sample: Sample, answer: Answer) -> float | Score: ...


@runtime_checkable
class BatchMetric(Named, Protocol):
    """Scores all answers at once, in order: for metrics that batch."""

    def score_all(self, samples: Sequence[Sample], answers: Sequence[Answer]) -> Sequence[float | Score]: ...


@runtime_checkable
class CorpusMetric(Metric, Protocol):
    """A metric of the whole set, not a mean of scores."""

    def statistic(self, details: Sequence[object], weights: FloatArray) -> FloatArray:
        """Return the metric of each weighted set.

        details: `Score.detail` of each sample, length n. weights: shape (resamples, n), how often each sample
        is drawn. Returns shape (resamples,).
        """
        ...


@runtime_checkable
class PairMetric(Named, Protocol):
    """Compares the tuned answer with the baseline's: 1 tuned is better, 0.5 a tie, 0 baseline is better."""

    def prefer(self, sample: Sample, tuned: Answer, baseline: Answer) -> float | Score: ...


AnyMetric = Metric | BatchMetric | PairMetric


@runtime_checkable
class Recipe(Protocol):
    """What is trained. `trainer` is the dotted path "package.module:function" of what carries it out."""

    @property
    def name(self) -> str: ...
    @property
    def trainer(self) -> str: ...
    @property
    def prompt(self) -> Strategy: ...


class Meter(Protocol):
    """One live progress line."""

    def advance(self, amount: int = 1, *, note: str = "") -> None: ...


class Progress(Protocol):
    """Where long work reports itself."""

    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> AbstractContextManager[Meter]: ...
    def say(self, line: str) -> None: ...


Batch = tuple[tuple[int, ...], tuple[Completion, ...]]
LikelihoodBatch = tuple[tuple[int, ...], tuple[Likelihood, ...]]


class Engine(Protocol):
    """A loaded model. Batches depend on the whole list, never on `done`, so that a resumed stage equals a fresh one."""

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        """Device, dtype, versions: what the stage's environment column records."""
        ...

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        """Yield (positions in `prompts`, completions) a batch; batches wholly in `done` are not computed."""
        ...

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        """Yield (positions in `requests`, log-likelihoods of the answer given the prompt) a batch."""
        ...

    def close(self) -> None: ...


__all__ = [
    "AnyMetric",
    "AnyModel",
    "Batch",
    "BatchMetric",
    "Bindable",
    "CorpusMetric",
    "Direction",
    "Engine",
    "FloatArray",
    "HasChoices",
    "HasCorpus",
    "LikelihoodBatch",
    "Meter",
    "Metric",
    "Named",
    "PairMetric",
    "Progress",
    "Prompter",
    "Recipe",
    "Strategy",
    "Task",
]
