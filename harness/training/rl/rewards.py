"""Completions -> rewards: graders run over them, those that raise, hang or say nothing counted.

Calls that may hang, given up after a while.

A reward model, trained by an earlier step, as what gives completions their rewards.
"""

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pkgutil import resolve_name
from queue import Empty, Queue
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from harness.errors import StageFailed
from harness.inference.models.adapters import collect
from harness.inference.models.loading import tokenizer_of
from harness.inference.models.rendering import answer_ids, prompt_ids, thought_apart
from harness.inference.models.reward import load_reward, rewards
from harness.recipes import Grader, JudgeGrade, Reinforced, Weighted
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.numbers import real_number, shown
from harness.types.protocols import BatchMetric, Executed, Metric, Progress, Task
from harness.types.samples import Answer, Check, Decoding, Example, Sample, Score

T = TypeVar("T")


class TookTooLongError(BaseException):
    """A call was given up. No `Exception`, which code that catches all of them would go on from."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns.

    In the main thread a timer interrupts it, which ends also a pattern that searches for ever. In any other thread the
    call runs beside it, and one that is given up ends at its next line of Python. Code in C that looks at no signal is
    not ended.

    Raises:
        TookTooLongError: After `seconds`, else what the call raises.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        with _alarm(seconds):
            return call()
    return _beside(seconds, call)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TookTooLongError(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, every)  # the caller's own, which rings a little late
        signal.signal(signal.SIGALRM, before)


def _beside(seconds: float, call: Callable[[], T]) -> T:
    found: Queue[tuple[T, None] | tuple[None, BaseException]] = Queue()

    def run() -> None:
        try:
            found.put((call(), None))
        except BaseException as error:  # handed to the caller, whatever it is
            found.put((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        value, error = found.get(timeout=seconds)
    except Empty:
        identity = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(TookTooLongError))
        raise TookTooLongError(f"it took longer than {seconds:g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


# More failures than this share, of at least so many gradings, and the grader is at fault, not a completion.
_TOO_MANY, _ENOUGH = 0.5, 16
_SHOWN = 5
_VERDICT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Completed:
    """One completion. tokens: its end token included. cut: it ended for want of room."""

    text: str
    tokens: tuple[int, ...]
    cut: bool


@dataclass(frozen=True)
class Grades:
    """What completions are worth, in order. total: the reward of each. each: grader's name -> its scores."""

    total: tuple[float, ...]
    each: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        return float(np.mean(self.total))


class Grading(Protocol):
    """Gives completions their rewards. names: of the graders, in order."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def grade(self, examples: Sequence[Example], completions: Sequence[Completed]) -> Grades: ...
    def checks(self) -> tuple[Check, ...]:
        """Return what is to be said of the graders when training has ended."""
        ...

    def close(self) -> None: ...


@dataclass
class _Tally:
    """How one grader did. items: the first failures."""

    graded: int = 0
    failed: int = 0
    items: list[dict[str, str]] = field(default_factory=list)


class Graders:
    """The weighted sum of graders. A failure gives `recipe.failure`, before the weight."""

    def __init__(self, recipe: Reinforced, *, task: Task | None, progress: Progress) -> None:
        self._recipe, self._task, self._progress = recipe, task, progress
        self._tallies = {weighted.grader.name: _Tally() for weighted in recipe.graders}
        self._judges: dict[str, Any] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tallies)

    def grade(self, examples: Sequence[Example], completions: Sequence[Completed]) -> Grades:
        """Return the rewards.

        Raises:
            StageFailed: If a grader fails on more than half of what it was given.
        """
        samples = [sample_of(example, self._task) for example in examples]
        answers = [self._answer(sample, one) for sample, one in zip(samples, completions, strict=True)]
        each = {}
        total = np.zeros(len(answers))
        for weighted in self._recipe.graders:
            scores = self._scores(weighted, samples, answers)
            each[weighted.grader.name] = tuple(scores)
            total += weighted.sign * np.array(scores)
        return Grades(total=tuple(total.tolist()), each=each)

    def checks(self) -> tuple[Check, ...]:
        return tuple(_check(name, tally, self._recipe.failure) for name, tally in self._tallies.items())

    def close(self) -> None:
        for engine in self._judges.values():
            engine.close()
        self._judges.clear()

    def _answer(self, sample: Sample, completion: Completed) -> Answer:
        # As serving reads it: what was thought aloud is no answer.
        thought = thought_apart(completion.text)
        return Answer(
            sample_id=sample.id,
            text=thought.text,
            reasoning=thought.reasoning,
            value=thought.text if self._task is None else self._task.read(thought.text),
            tokens_out=len(completion.tokens),
            ended="length" if completion.cut else "stop",
        )

    def _scores(self, weighted: Weighted, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[float]:
        grader = weighted.grader
        if isinstance(grader, JudgeGrade):
            found = self._judged(grader, samples, answers)
        elif isinstance(grader, Metric | Grader):
            found = [
                self._tried(partial(grader.score, sample, answer))
                for sample, answer in zip(samples, answers, strict=True)
            ]
        else:
            found = self._together(grader, samples, answers)
        tally = self._tallies[grader.name]
        for answer, one in zip(answers, found, strict=True):
            tally.graded += 1
            if isinstance(one, str):
                tally.failed += 1
                if len(tally.items) < _SHOWN:
                    tally.items.append({"id": answer.sample_id, "error": one, "answer": answer.text[:200]})
        if tally.graded >= _ENOUGH and tally.failed > _TOO_MANY * tally.graded:
            raise StageFailed(
                f"the grader {grader.name} failed on {tally.failed:,} of {tally.graded:,} completions, the first time "
                f"on sample {tally.items[0]['id']}: {tally.items[0]['error']}; mend the grader and run again"
            )
        return [self._recipe.failure if isinstance(one, str) else one for one in found]

    def _tried(self, call: Callable[[], float | Score], *, times: int = 1) -> float | str:
        """Return the score, or in words why there is none."""
        try:
            found = within(self._recipe.grader_seconds * times, call)
            value = found.value if isinstance(found, Score) else found
        except TookTooLongError as error:
            return str(error)
        except Exception as error:  # a grader is the user's code, and one completion must not end the run
            return f"{type(error).__name__}: {error}"
        score = real_number(value)
        return f"it returned {shown(value)}" if score is None else score

    def _together(self, grader: Any, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[float | str]:
        """Return the scores of a metric that is computed for all answers at once."""
        if isinstance(grader, BatchMetric):
            compute = partial(grader.score_all, samples, answers)
        else:
            compute = partial(resolve_name(cast(Executed, grader).executor), grader, samples, answers)
        scores: list[float | Score] = []

        def run() -> float:
            scores.extend(compute())
            return 0.0

        failure = self._tried(run, times=len(answers))
        if isinstance(failure, str):
            return [failure] * len(answers)
        return [self._tried(partial(lambda one: one, score)) for score in scores]

    def _judged(self, grader: JudgeGrade, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[float | str]:
        engine = self._judges.get(grader.name)
        if engine is None:
            # What answers lives on the same floor as what trains, so a model is opened by the path that it declares.
            opened = resolve_name(grader.judge.engine)
            engine = self._judges[grader.name] = opened(grader.judge, progress=self._progress)
        questions = [grader.question(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
        replies = [""] * len(questions)
        for positions, completions in engine.generate(questions, Decoding(max_tokens=_VERDICT_TOKENS)):
            for place, completion in zip(positions, completions, strict=True):
                replies[place] = completion.text
        scores = [grader.read(reply) for reply in replies]
        return [
            f"its verdict has no score from 0 to 1: {reply[:80]!r}" if score is None else score
            for score, reply in zip(scores, replies, strict=True)
        ]


def grading(job: TuneJob, *, progress: Progress) -> Grading:
    """Return what gives the rewards of `job`: the recipe's graders, else the reward model of an earlier step.

    Raises:
        StageFailed: If there is neither.
    """
    recipe = cast(Reinforced, job.recipe)
    if recipe.graders:
        return Graders(recipe, task=job.task, progress=progress)
    if job.reward is None:
        raise StageFailed(
            f"{recipe.name} has nothing to learn from; give it reward=..., or let it follow a reward model, as in "
            "Steps([SFT(), RewardModel(), PPO()])"
        )

    return RewardModelGrading(job, progress=progress)


def sample_of(example: Example, task: Task | None) -> Sample:
    """Return the example's sample with its expected value; one made of the example where it came from none."""
    sample = example.sample or Sample(id=example.id, input=example.prompt[-1].content, reference=example.answer)
    if sample.expected is not None:
        return sample
    reference = thought_apart(sample.reference, prompt="").text
    return replace(sample, expected=reference if task is None else task.read(reference))


def _check(name: str, tally: _Tally, failure: float) -> Check:
    called = f"grader {name}"
    if not tally.failed:
        return Check(name=called, status="ok", detail=f"it graded {tally.graded:,} completions, and failed on none")
    return Check(
        name=called,
        status="warning",
        detail=f"it failed on {tally.failed:,} of {tally.graded:,} completions, which got {failure:g} instead; "
        f"first: {tally.items[0]['error']}",
        items=tuple(tally.items),
    )


_NAME = "reward_model"


class RewardModelGrading:
    """Reads completions as the reward model was trained to: served prompt, answer, end token where it ended."""

    def __init__(self, job: TuneJob, *, progress: Progress) -> None:
        assert job.reward is not None
        assert isinstance(job.model, Model)
        progress.say(f"rewards come from the reward model in {job.reward}")
        self._network = load_reward(job.model, job.reward)
        self._tokenizer = tokenizer_of(job.reward)
        self._given: list[float] = []

    @property
    def names(self) -> tuple[str, ...]:
        return (_NAME,)

    def grade(self, examples: Sequence[Example], completions: Sequence[Completed]) -> Grades:
        """Return the rewards. Raises StageFailed if one is not finite."""
        read = [
            [
                *prompt_ids(self._tokenizer, example.prompt),
                *answer_ids(self._tokenizer, completion.text, end=not completion.cut),
            ]
            for example, completion in zip(examples, completions, strict=True)
        ]
        found = tuple(rewards(self._network, self._tokenizer, read))
        if not np.isfinite(found).all():
            raise StageFailed(
                f"the reward model gives {next(one for one in found if not np.isfinite(one))} for a completion: its "
                "weights are broken; train it again with a lower learning_rate"
            )
        self._given += found
        return Grades(total=found, each={_NAME: found})

    def checks(self) -> tuple[Check, ...]:
        """Return the range of the rewards given: a policy may find answers that the model was never taught."""
        detail = (
            f"it gave {len(self._given):,} completions {min(self._given):.3g} to {max(self._given):.3g}"
            if self._given
            else "it was not asked"
        )
        return (Check(name="reward model", status="ok", detail=detail),)

    def close(self) -> None:
        self._network = None
        collect()
