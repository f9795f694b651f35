"""Graders: what a completion is worth, where training learns from rewards."""

import inspect
import math
import re
import textwrap
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, cast

from harness.errors import InvalidExperiment, NotFingerprintable
from harness.fingerprint import fingerprint
from harness.types.models import AnyModel, as_model
from harness.types.protocols import (
    AnyMetric,
    BatchMetric,
    Direction,
    Executed,
    JudgedMetric,
    Metric,
    Named,
    PairMetric,
    needs_likelihood,
)
from harness.types.samples import Answer, Message, Messages, Sample

DEFAULT_INSTRUCTION = (
    "You grade one answer to one request, from 0 (useless or wrong) to 1 (right, complete and to the point). "
    "Length and tone are no merit."
)
_NUMBER = r"(?P<score>-?\d*\.?\d+)\s*(?:/\s*(?P<of>1(?:\.0)?|5|10|100)(?![\d.])|(?P<percent>%))?"
_NAMED_SCORE = re.compile(
    r"(?:score|grade|rating|评分|得分|分数|スコア)[\"']?\s*(?:[:=]|\bis\b|\bof\b|为|是)*\s*[\"']?" + _NUMBER,
    re.IGNORECASE,
)
_LONE_SCORE = re.compile(rf"^[^\w.\n-]*{_NUMBER}[\s.!\"')\]}}]*$", re.MULTILINE)
_REPLY_FORM = "End with one line: Score: followed by a number from 0 to 1."


@dataclass(frozen=True)
class Grader:
    """A Python function as a grader: it returns the reward of an answer, higher is better.

    It is known by its source text, its default arguments and what it holds from an enclosing function; what it calls
    by a module's name is not part of its key.

    Args:
        function: `function(sample, answer)` returns the reward.
        name: How logs call it; empty is the function's own.

    Raises:
        InvalidExperiment: If the function's source cannot be read.

    Examples:
        >>> def short(sample, answer):
        ...     return 1.0 if len(answer.text) < 200 else 0.0
        >>> Grader(short).name
        'short'
    """

    function: Callable[[Sample, Answer], float] = field(compare=False, metadata={"key": False})
    name: str = ""
    source: str = field(default="", init=False)

    better: ClassVar[Direction] = "higher"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InvalidExperiment(f"Grader({self.function!r}) is no function; give one of (sample, answer) -> float")
        object.__setattr__(self, "name", self.name or getattr(self.function, "__name__", "grader").strip("<>"))
        object.__setattr__(self, "source", _source(self.function, self.name))

    def score(self, sample: Sample, answer: Answer) -> float:
        return self.function(sample, answer)


@dataclass(frozen=True)
class JudgeGrade:
    """A model as a grader: it reads request, reference and answer, and gives 0 to 1.

    Args:
        model: What judges, asked greedily; a string means `Model(string)`. A verdict without a number from 0 to 1 is a
            failure of the grader.
        instruction: What the judge is told to look for.
        reference: Whether it is shown the reference answer.
        name: How logs call it.

    Examples:
        >>> judge = JudgeGrade(Endpoint("https://api.example.com/v1", "large"))
        >>> judge.read("Clear and right. Score: 0.9")
        0.9
    """

    model: AnyModel | str
    instruction: str = DEFAULT_INSTRUCTION
    reference: bool = True
    name: str = "judge"

    better: ClassVar[Direction] = "higher"

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_model(self.model))

    @property
    def judge(self) -> AnyModel:
        return cast(AnyModel, self.model)

    def question(self, sample: Sample, answer: Answer) -> Messages:
        """Return what the judge reads."""
        parts = [("request", _request(sample)), ("answer", answer.text)]
        if self.reference and sample.reference:
            parts.insert(1, ("reference", sample.reference))
        # An answer may try to close its own fence and speak as something else.
        body = "\n\n".join(f"<{tag}>\n{text.replace('</', '< /')}\n</{tag}>" for tag, text in parts)
        return (
            Message("system", f"{self.instruction}\n{_REPLY_FORM}"),
            Message("user", f"{body}\n\nHow good is the answer? {_REPLY_FORM}"),
        )

    def read(self, reply: str) -> float | None:
        """Return the last score that `reply` names, also in JSON or as a share of 10, None if it names none.

        A line that holds nothing but a number from 0 to 1 names one too.
        """
        text = unicodedata.normalize("NFKC", reply).replace("*", "").replace("`", "")
        found = list(_NAMED_SCORE.finditer(text)) or list(_LONE_SCORE.finditer(text))
        if not found:
            return None
        score = float(found[-1]["score"]) / float(found[-1]["of"] or (100 if found[-1]["percent"] else 1))
        return score if 0 <= score <= 1 else None


AnyGrader = AnyMetric | Grader | JudgeGrade


@dataclass(frozen=True)
class Weighted:
    """A grader and its weight in the reward: the reward is the weighted sum.

    Args:
        grader: A metric of single answers, a function of (sample, answer), or `JudgeGrade(model)`. A metric whose lower
            scores are better counts negatively.
        weight: Not 0.

    Raises:
        InvalidExperiment: If `grader` gives one answer no reward, or the weight is 0 or not finite.

    Examples:
        >>> Weighted(TokensOut(), 0.01).sign
        -0.01
    """

    grader: AnyGrader
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "grader", as_grader(self.grader))
        if not math.isfinite(self.weight) or self.weight == 0:
            raise InvalidExperiment(
                f"Weighted({self.grader.name}, weight={self.weight}) changes no reward; give a finite weight, not 0"
            )

    @property
    def name(self) -> str:
        return self.grader.name if self.weight == 1 else f"{self.weight:g}*{self.grader.name}"

    @property
    def sign(self) -> float:
        """The weight with the metric's direction in it."""
        return self.weight if self.grader.better == "higher" else -self.weight


Reward = AnyGrader | Weighted | Callable[[Sample, Answer], float]


def as_grader(given: object) -> AnyGrader:
    """Return a metric or grader as it is, a function as a Grader.

    Raises:
        InvalidExperiment: If it cannot give one completion a reward.
    """
    if isinstance(given, type):
        raise InvalidExperiment(f"{given.__name__} is a class and grades nothing; write {given.__name__}()")
    if isinstance(given, Grader | JudgeGrade):
        return given
    if isinstance(given, PairMetric | JudgedMetric):
        raise InvalidExperiment(
            f"{given.name} compares two answers, so it gives one completion no reward; use a metric of one answer, "
            "JudgeGrade(model), or a reward model"
        )
    if needs_likelihood(given):
        raise InvalidExperiment(
            f"{getattr(given, 'name', given)} is computed from the reference's likelihood and knows no completion; "
            "use a metric of the answer, such as ExactMatch()"
        )
    if isinstance(given, Metric | BatchMetric | Executed):
        return given
    if callable(given) and not isinstance(given, Named):
        return Grader(given)
    raise InvalidExperiment(
        f"{given!r} gives no reward; use a metric such as ExactMatch(), a function of (sample, answer), "
        "JudgeGrade(model), or Weighted(one of them, weight)"
    )


def as_weighted(given: Reward | Sequence[object]) -> tuple[Weighted, ...]:
    """Return the graders that make up a reward.

    Raises:
        InvalidExperiment: If two have one name, since a log tells them apart by it.
    """
    listed = given if isinstance(given, list | tuple) else [given]
    found = tuple(one if isinstance(one, Weighted) else Weighted(cast(AnyGrader, one)) for one in listed)
    names = [one.grader.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidExperiment(f"{names.count(name)} graders are called {name}; give each a name of its own")
    return found


def _source(function: Callable[..., float], name: str) -> str:
    """Return the text that tells `function` from others: its source, defaults and enclosed values."""
    if isinstance(function, partial):
        held: list[object] = [list(function.args), dict(function.keywords)]
        return f"{_source(function.func, name)}\n{_key(held, name)}"
    try:
        # A callable object is known by its class.
        text = inspect.getsource(function if inspect.isroutine(function) else type(function))
    except (OSError, TypeError) as error:
        raise InvalidExperiment(
            f"Grader {name}: its source cannot be read ({error}), so no key could tell that it changed; "
            "define it in a file"
        ) from error
    held = [getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)]
    held += [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    if not inspect.isroutine(function):
        held.append(function if not hasattr(function, "__dict__") else vars(function))
    return f"{textwrap.dedent(text).strip()}\n{_key(held, name)}"


def _key(held: list[object], name: str) -> str:
    try:
        return fingerprint([_plain(one) for one in held])
    except NotFingerprintable as error:
        raise InvalidExperiment(
            f"Grader {name} holds a value of an enclosing function that has no key: {error}; make it an argument of "
            "a frozen dataclass, or a constant of the module"
        ) from error


def _plain(value: object) -> object:
    """Return an enclosed function as its own source."""
    if inspect.isfunction(value):
        return _source(value, value.__name__)
    return dict(value) if isinstance(value, Mapping) else value


def _request(sample: Sample) -> str:
    if sample.messages:
        return "\n".join(f"{message.role}: {message.text}" for message in sample.messages)
    return sample.input
