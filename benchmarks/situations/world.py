"""A small task whose answers are known, and a model that knows as many of them as it is told."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import ExactMatch, Experiment, Gain, Message, Passage, Sample, Split, ZeroShot
from harness.inference.scripted import Scripted, ScriptedTuning
from harness.types.samples import Messages

_SIZES = {Split.TRAIN: 80, Split.DEV: 60}
_LABELS = ("amber", "blue", "green", "red", "white")
_SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
    "va",
    "we",
    "xi",
)
WRONG = "no"

Rows = Mapping[Split, tuple[Sample, ...]]


@dataclass(frozen=True)
class Words:
    """Which colour has the thing of this name? passages: a corpus, where there is one."""

    rows: Rows
    wording: str = "Which colour has"
    passages: tuple[Passage, ...] = ()
    name: str = "words"
    answer_tokens: int = 8

    def samples(self, split: Split) -> tuple[Sample, ...]:
        return self.rows[split]

    def prompt(self, sample: Sample) -> Messages:
        return (Message("user", f"{self.wording} {sample.input}?"),)

    def read(self, text: str) -> object | None:
        return text.strip() or None

    def corpus(self) -> Sequence[Passage]:
        return self.passages

    def with_rows(self, split: Split, rows: Sequence[Sample]) -> "Words":
        return replace(self, rows={**self.rows, split: tuple(rows)})


def words_task(holdout: int = 200, *, seed: int = 0, name: str = "words") -> Words:
    """Return a task of made-up words that share nothing between splits."""
    drawn = random.Random(f"{name} {seed}")  # noqa: S311 - made-up words
    rows = {
        split: tuple(_sample(split, place, drawn) for place in range(_SIZES.get(split, holdout))) for split in Split
    }
    return Words(rows, name=name)


def _sample(split: Split, place: int, drawn: random.Random) -> Sample:
    text = " ".join("".join(drawn.choices(_SYLLABLES, k=4)) for _ in range(5))
    return Sample(id=f"{split.value}-{place}", input=text, reference=_LABELS[place % len(_LABELS)])


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a system answers rightly: shares of DEV and HOLDOUT, at places drawn by `seed`.

    tuned_on_top: what the tuned system knows holds what the base knows; else the places are drawn apart, so that it
    wins some and loses some.
    """

    base: float = 0.3
    tuned: float = 0.8
    tuned_on_top: bool = True
    seed: int = 0

    def places(self, count: int) -> tuple[frozenset[int], frozenset[int]]:
        """Return which of `count` samples base and tuned system know."""
        drawn = random.Random(self.seed)  # noqa: S311 - a pattern to repeat
        order = drawn.sample(range(count), count)
        other = order if self.tuned_on_top else drawn.sample(range(count), count)
        return frozenset(order[: round(self.base * count)]), frozenset(other[: round(self.tuned * count)])


def answers(task: Words, split: Split, known: frozenset[int]) -> dict[str, str]:
    """Return the answer to each prompt of a split: right at the known places, else wrong."""
    return {
        task.prompt(sample)[-1].content: sample.reference if place in known else WRONG
        for place, sample in enumerate(task.samples(split))
    }


def scripted(task: Words, knowledge: Knowledge, **fields: Any) -> Scripted:
    """Return a model that knows so much, before and after tuning."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for split in (Split.DEV, Split.HOLDOUT):
        base, tuned = knowledge.places(len(task.samples(split)))
        before |= answers(task, split, base)
        after |= answers(task, split, tuned)
    return Scripted(answers=before, after_tuning=after, **fields)


@dataclass(frozen=True)
class World:
    """An experiment in the making."""

    task: Words = field(default_factory=words_task)
    knowledge: Knowledge = field(default_factory=Knowledge)

    def experiment(self, **changes: Any) -> Experiment:
        fields: dict[str, Any] = {
            "question": "Should this be tuned?",
            "task": self.task,
            "model": scripted(self.task, self.knowledge),
            "baselines": [ZeroShot()],
            "recipes": [ScriptedTuning()],
            "metrics": [ExactMatch()],
            "go_if": [Gain(ExactMatch(), at_least=0.05)],
        }
        return Experiment(**{**fields, **changes})


def world(base: float, tuned: float, *, holdout: int = 200, on_top: bool = True, seed: int = 0) -> World:
    """Return a world where base and tuned system know these shares."""
    return World(words_task(holdout), Knowledge(base=base, tuned=tuned, tuned_on_top=on_top, seed=seed))
