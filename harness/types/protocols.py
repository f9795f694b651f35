"""What a user may implement. Members are read-only properties, so that frozen dataclasses satisfy them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.types.models import AnyModel as AnyModel
from harness.types.models import Costs
from harness.types.samples import (
    Answer,
    Check,
    Completion,
    Decoding,
    Likelihood,
    Messages,
    Passage,
    Sample,
    Score,
    Split,
)

Direction = Literal["higher", "lower"]
# Of a task that does not say.
DEFAULT_ANSWER_TOKENS = 256
FloatArray = NDArray[np.float64]


@runtime_checkable
class Task(Protocol):
    """What is asked: where samples come from, how each is put into a prompt, how an answer is read.

    Any object with the members below is a task. `samples(split)` returns the samples of TRAIN, DEV or HOLDOUT, always
    in one order. A task may have more, each found by its name:

    - `answer_tokens`: most tokens of an answer; without it 256.
    - `stop`: strings that end an answer.
    - `choices`: the only possible answers; the likeliest is taken, nothing is generated.
    - `shot(sample)`: the turns that show a sample as an example; without it its prompt and its reference.
    - `corpus()`: the passages that `RAG` retrieves from.
    - `data_checks()`: what reading the data found.
    - `judges_refusals`: True if a refusal is an answer to judge, and not one that is missing.
    - `asker`: the dotted path of what asks, for a task whose question is more than one prompt.

    Attributes:
        name: What the task is called on pages and in tables.

    Examples:
        >>> class Capitals:
        ...     name = "capitals"
        ...     def samples(self, split):
        ...         return [Sample(id=split.value, input="The capital of France?", reference="Paris")]
        ...     def prompt(self, sample):
        ...         return (Message("user", sample.input),)
        ...     def read(self, text):
        ...         return text.strip() or None
        >>> isinstance(Capitals(), Task)
        True
    """

    @property
    def name(self) -> str: ...
    def samples(self, split: Split) -> Sequence[Sample]: ...
    def prompt(self, sample: Sample) -> Messages:
        """Return the zero-shot conversation: it ends with a user message."""
        ...

    def read(self, text: str) -> object | None:
        """Return the JSON-able value of an answer, or None if it cannot be read."""
        ...


@runtime_checkable
class HasCorpus(Protocol):
    def corpus(self) -> Sequence[Passage]: ...


@runtime_checkable
class HasChoices(Protocol):
    """A task with choices is answered by the choice of highest likelihood, not by generation."""

    @property
    def choices(self) -> Sequence[str]: ...


def choices_of(task: Task) -> tuple[str, ...]:
    """Return the only possible answers of a task; none if answers are free."""
    return tuple(task.choices) if isinstance(task, HasChoices) else ()


@runtime_checkable
class HasShots(Protocol):
    """A task that says how a sample is shown as an example; else it is its prompt and its reference."""

    def shot(self, sample: Sample) -> Messages: ...


@runtime_checkable
class HasDataChecks(Protocol):
    """A task that says what reading its data found: what was guessed, left out and not read."""

    def data_checks(self) -> Sequence[Check]: ...


@runtime_checkable
class LimitsAnswers(Protocol):
    """A task that says how many tokens an answer has at most; else it is 256."""

    @property
    def answer_tokens(self) -> int: ...


def answer_tokens(task: object) -> int:
    """Return how many tokens an answer of `task` has at most."""
    return int(task.answer_tokens) if isinstance(task, LimitsAnswers) else DEFAULT_ANSWER_TOKENS


@runtime_checkable
class StopsAnswers(Protocol):
    """A task that names texts before which an answer ends."""

    @property
    def stop(self) -> Sequence[str]: ...


@runtime_checkable
class OnlyWeighed(Protocol):
    """A task that asks nothing: of its references only the likelihood after the prompt is computed, no answer is made.

    `only_weighed` is True; the metric of its guard needs likelihoods.
    """

    @property
    def only_weighed(self) -> bool: ...


@runtime_checkable
class AsksItself(Protocol):
    """A task whose question is more than one prompt: several texts to weigh for one sample, or settings of its own.

    `asker` is the dotted path "package.module:function" of
    `ask(task, engine, asked, *, done) -> Iterator[Batch]`, in which asked holds a (sample, prompt) each.
    """

    @property
    def asker(self) -> str: ...
    def content_key(self, split: Split) -> str:
        """Identify what is asked about this split's samples, prompts apart."""
        ...


@runtime_checkable
class Strategy(Protocol):
    """How a system is prompted."""

    @property
    def name(self) -> str: ...
    def messages(self, task: Task, sample: Sample) -> Messages: ...


Prompter = Callable[[Sample], Messages]


@runtime_checkable
class LooksUp(Protocol):
    """A prompter that retrieves texts for each sample, and can say how many it found."""

    def __call__(self, sample: Sample) -> Messages: ...
    def look_up(self, sample: Sample) -> tuple[Messages, int]:
        """Return the prompt, and how many texts were found for it: 0 says that the retriever had nothing to give."""
        ...


@runtime_checkable
class Bindable(Protocol):
    """A strategy that prepares something once for each task: an index, a drawn set of shots."""

    def bind(self, task: Task) -> Prompter: ...


@runtime_checkable
class Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def better(self) -> Direction: ...


@runtime_checkable
class Metric(Named, Protocol):
    """One score for each sample. A metric that sets `needs_likelihood = True` finds `answer.likelihood` filled in."""

    def score(self, sample: Sample, answer: Answer) -> float | Score: ...


@runtime_checkable
class NeedsLikelihood(Protocol):
    """Optional member of a metric, True if it finds `answer.likelihood` filled in."""

    @property
    def needs_likelihood(self) -> bool: ...


def needs_likelihood(metric: object) -> bool:
    """Tell whether `metric` is computed from likelihoods."""
    return isinstance(metric, NeedsLikelihood) and metric.needs_likelihood


@runtime_checkable
class JudgesRefusals(Protocol):
    """Optional member of a metric or a task, True if a refusal is an answer to judge and not one that is missing."""

    @property
    def judges_refusals(self) -> bool: ...


def judges_refusals(one: object) -> bool:
    """Tell whether a refusal is an answer for this metric or task."""
    return isinstance(one, JudgesRefusals) and one.judges_refusals


@runtime_checkable
class ChecksReferences(Protocol):
    """Optional member of a metric that not every reference suits: it is asked before anything else."""

    def check_references(self, samples: Sequence[Sample]) -> Check | None:
        """Return what is wrong with the references, "invalid" if they cannot be scored; None if nothing is."""
        ...


@runtime_checkable
class Priced(Named, Protocol):
    """A metric of money, which depends on what answers: the run scores with `priced(model, costs)`."""

    def missing_price(self, model: AnyModel, costs: Costs | None) -> str | None:
        """Return in words which price of `model` is unknown, None if none is."""
        ...

    def priced(self, model: AnyModel, costs: Costs | None) -> Metric: ...


@runtime_checkable
class KnowsLanguages(Named, Protocol):
    """Optional member of a metric that was learned: the languages it knows (ISO 639-1), None if that is unknown."""

    @property
    def known_languages(self) -> tuple[str, ...] | None: ...


@runtime_checkable
class BatchMetric(Named, Protocol):
    """Scores all answers at once, in order: for metrics that batch."""

    def score_all(self, samples: Sequence[Sample], answers: Sequence[Answer]) -> Sequence[float | Score]: ...


@runtime_checkable
class CorpusMetric(Metric, Protocol):
    """A metric of the whole set, not a mean of scores."""

    def statistic(self, details: Sequence[object], weights: FloatArray) -> FloatArray:
        """Return the metric of each weighted set.

        Args:
            details: `Score.detail` of each sample, length n.
            weights: How often each sample is drawn; shape (resamples, n).

        Returns:
            The metrics; shape (resamples,).
        """
        ...


@runtime_checkable
class PairMetric(Named, Protocol):
    """Compares the tuned answer with the baseline's: 1 tuned is better, 0.5 a tie, 0 baseline is better."""

    def prefer(self, sample: Sample, tuned: Answer, baseline: Answer) -> float | Score: ...


@runtime_checkable
class Executed(Named, Protocol):
    """A metric that needs a model to be computed, so that its declaration cannot hold the code.

    `executor` is the dotted path "package.module:function" of
    `score_all(metric, samples, answers) -> Sequence[Score]`, in order.
    """

    @property
    def executor(self) -> str: ...


AnyMetric = Metric | BatchMetric | PairMetric | Executed


@runtime_checkable
class Recipe(Protocol):
    """What is trained. `trainer` is the dotted path "package.module:function" of what carries it out."""

    @property
    def name(self) -> str: ...
    @property
    def trainer(self) -> str: ...
    @property
    def prompt(self) -> Strategy | None:
        """How the tuned model is prompted, in training and in serving; None is the plain zero-shot prompt."""
        ...


@runtime_checkable
class Makes(Protocol):
    """Optional member of a recipe: what the trained folder is. A policy answers, a reward model scores."""

    @property
    def makes(self) -> Literal["policy", "reward"]: ...


@runtime_checkable
class NeedsRewardModel(Protocol):
    """Optional member of a recipe, True if it learns from the rewards of a model that an earlier step trains."""

    @property
    def needs_reward_model(self) -> bool: ...


@runtime_checkable
class LearnsTask(Protocol):
    """A recipe that may learn another task than the experiment's.

    Attributes:
        task: Whose examples are learned; None is the experiment's task.
        mix: Tasks of which examples are learned again, each with how many for one of its own.
    """

    @property
    def task(self) -> Task | None: ...
    @property
    def mix(self) -> Sequence[tuple[Task, float]]: ...


@runtime_checkable
class KeepsTasks(Protocol):
    """A recipe that may hold what earlier tasks need; `keep` is None if it does not. It is given their examples."""

    @property
    def keep(self) -> object | None: ...


@runtime_checkable
class LearnsPairs(Protocol):
    """A recipe that learns from pairs; `pairs` is the file of them, None if they are the task's own."""

    @property
    def pairs(self) -> str | None: ...


@runtime_checkable
class LearnsVotes(Protocol):
    """A recipe that learns from votes; `votes` is the file of them, None if they are the task's own."""

    @property
    def votes(self) -> str | None: ...


@runtime_checkable
class LearnsPreferences(Protocol):
    """A recipe that learns from preferences: `content_key` identifies the rows of its file, None if there is none."""

    def content_key(self) -> str | None: ...


@runtime_checkable
class LimitsExamples(Protocol):
    """A recipe that may learn a part of the training examples; `limit` is None if it learns all."""

    @property
    def limit(self) -> int | None: ...


@runtime_checkable
class HasEpochs(Protocol):
    """A recipe that says how often it passes over its examples; else it is once."""

    @property
    def epochs(self) -> float: ...


class Meter(Protocol):
    """One live progress line."""

    def advance(self, amount: int = 1, *, note: str = "") -> None: ...


@runtime_checkable
class TakesLoss(Protocol):
    """A meter that is told each training loss as a number, beside the note that people read."""

    def take_loss(self, loss: float) -> None: ...


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
        """Yield (positions in `prompts`, completions) of each batch; batches wholly in `done` are not computed."""
        ...

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        """Yield (positions in `requests`, log-likelihoods of the answer given the prompt) of each batch."""
        ...

    def use(self, adapter: Path | None) -> None:
        """Answer with the tuned system stored in folder `adapter`; None is the base model again."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class JudgedMetric(Named, Protocol):
    """A pair metric whose votes come from a model: asked in both orders, disagreement is a tie.

    Optional member: `reply_schema`, the JSON Schema, as text, that a server which can holds the replies to.
    """

    @property
    def judge(self) -> AnyModel | None: ...
    def question(self, sample: Sample, first: Answer, second: Answer) -> Messages: ...
    def vote(self, tuned_first: str, baseline_first: str) -> Score:
        """Return the score from the judge's two texts: one with the tuned answer shown first, one with it second."""
        ...
