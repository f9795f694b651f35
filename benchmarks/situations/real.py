"""Situations on SmolLM2-135M-Instruct: small, and on one store, so that all of them take minutes on two cores.

Each experiment has a name of its own. They share a holdout, so its ledger counts the pairs that met it before.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.situations.situation import Got, Situation, decide_once, once, one_after_another
from harness import (
    SFT,
    AtMost,
    ExactMatch,
    Experiment,
    Gain,
    Guard,
    LoRA,
    Message,
    Perplexity,
    Sample,
    Split,
    TextTask,
    ZeroShot,
)
from harness.types.samples import Messages

_GROUP = "On the real model"
_SIZES = {Split.TRAIN: 64, Split.DEV: 16, Split.HOLDOUT: 48}
_QUEUES = {"invoice": "Q7", "parcel": "Z3", "password": "K9", "refund": "M4"}
_FILLERS = (
    "please look at it today", "nobody answered me last week", "it is the second time", "my colleague wrote already",
    "we need it before Monday", "the number is on the form", "I tried it twice", "thank you in advance",
)  # fmt: skip
_LICENCE = Path(__file__).parents[2] / "LICENSE"
_OPENINGS = ("Hello,", "Good morning,", "Dear team,", "Hi there,", "To whom it may concern,", "Hey,")


@dataclass(frozen=True)
class Tickets:
    """Which queue does a ticket belong to? The queues' names are made up: nobody can know them untuned."""

    rows: dict[Split, tuple[Sample, ...]]
    name: str = "tickets"
    answer_tokens: int = 6

    def samples(self, split: Split) -> tuple[Sample, ...]:
        return self.rows[split]

    def prompt(self, sample: Sample) -> Messages:
        return (Message("user", f"Queue of this ticket: {sample.input}"),)

    def read(self, text: str) -> object | None:
        """Return the first word: an untuned model goes on talking behind it until it is cut."""
        return next(iter(text.split()), None)


def _tickets(sizes: dict[Split, int] = _SIZES) -> Tickets:
    drawn = random.Random(5)  # noqa: S311 - made-up tickets
    rows = {split: tuple(_ticket(split, place, drawn) for place in range(size)) for split, size in sizes.items()}
    return Tickets(rows)


def _ticket(split: Split, place: int, drawn: random.Random) -> Sample:
    word = list(_QUEUES)[place % len(_QUEUES)]
    name = "".join(drawn.choices("bcdfgklmnprstv", k=3) + drawn.choices("aeiou", k=2))
    number = drawn.randrange(1000, 9999)
    text = f"{drawn.choice(_OPENINGS)} {name} here, about the {word} {number}: {drawn.choice(_FILLERS)}"
    return Sample(id=f"{split.value}-{place}", input=text, reference=_QUEUES[word])


def _experiment(task: Tickets | None = None, **changes: object) -> Experiment:
    fields: dict[str, object] = {
        "question": "Should the tickets be routed by a tuned model?",
        "task": task or _tickets(),
        "model": "smollm2-135m-instruct",
        "baselines": [ZeroShot()],
        "recipes": [_recipe()],
        "metrics": [ExactMatch()],
        "go_if": [Gain(ExactMatch(), at_least=0.1)],
    }
    return Experiment(**{**fields, **changes})  # type: ignore[arg-type]


def _recipe(**changes: object) -> SFT:
    fields: dict[str, object] = {
        "adapter": LoRA(rank=8),
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "evaluate_every": 16,
    }
    return SFT(**{**fields, **changes})  # type: ignore[arg-type]


def _shuffled() -> Experiment:
    """The training answers are dealt out anew: what is learned is the names of the queues, not whose they are."""
    task = _tickets()
    train = task.samples(Split.TRAIN)
    references = random.Random(1).sample([s.reference for s in train], len(train))  # noqa: S311 - a shuffle
    rows = tuple(replace(s, reference=r) for s, r in zip(train, references, strict=True))
    return _experiment(replace(task, rows={**task.rows, Split.TRAIN: rows}), go_if=[Gain(ExactMatch(), at_least=0.6)])


def _leaky() -> Experiment:
    task = _tickets()
    stolen = replace(task.samples(Split.HOLDOUT)[11], id="planted")
    return _experiment(replace(task, rows={**task.rows, Split.TRAIN: (*task.samples(Split.TRAIN), stolen)}))


def _forgetful() -> Experiment:
    """Each longer paragraph of the licence is a document of its own."""
    paragraphs = [part for part in _LICENCE.read_text(encoding="utf-8").split("\n\n") if len(part) > 200]
    return _experiment(guards=[Guard(TextTask("licence", paragraphs), Perplexity(), by_at_most=0.05)])


def _changed_rule() -> Sequence[tuple[str, Experiment]]:
    asked = _experiment(go_if=[Gain(ExactMatch(), at_least=0.99)])
    return [("changed", asked), ("changed", replace(asked, go_if=[Gain(ExactMatch(), at_least=0.1)]))]


def _again_under_another_name(folder: Path) -> Got:
    """The verdict of a second, renamed experiment comes from the answers of the first."""
    decide_once(_experiment(), folder, name="first")
    return decide_once(_experiment(go_if=[Gain(ExactMatch(), at_least=0.05)]), folder, name="second")


def _planted(name: str, planted: str, expected: str, says: str, make: Callable[[], Experiment]) -> Situation:
    return Situation(
        group=_GROUP,
        name=f"real: {name}",
        planted=planted,
        expected=expected,
        says=says,
        play=once(make, name=name.replace(" ", "-")),
    )


SITUATIONS = (
    _planted("true gain", "queues with made-up names, learned from 64 tickets", "GO", "shows", _experiment),
    _planted("shuffled labels", "the 64 answers dealt out anew, and 60 points asked for", "NO_GO", "misses", _shuffled),
    _planted("leak", "one holdout ticket is a train ticket", "INVALID", "holdout-11", _leaky),
    _planted(
        "zero learning rate",
        "learning_rate=0",
        "INVALID",
        "changes no logit",
        lambda: _experiment(recipes=[_recipe(learning_rate=0.0, epochs=1, limit=16)]),
    ),
    _planted(
        "diverging training",
        "learning_rate=1000",
        "error",
        "learning rate 1000",  # of the loss or of the gradient norm, as the processor has it
        lambda: _experiment(recipes=[_recipe(learning_rate=1000.0, adapter=LoRA(rank=8))]),
    ),
    _planted(
        "rows that do not fit",
        "max_length=5, shorter than any prompt",
        "error",
        "max_length",
        lambda: _experiment(recipes=[_recipe(max_length=5)]),
    ),
    _planted(
        "tiny holdout",
        "4 holdout tickets",
        "INCONCLUSIVE",
        "holdout sample",
        lambda: _experiment(_tickets({**_SIZES, Split.HOLDOUT: 4})),
    ),
    _planted(
        "good enough untuned",
        "stop_if is met by the baseline's perplexity on DEV",
        "NO_GO",
        "already enough",
        lambda: _experiment(metrics=[ExactMatch(), Perplexity()], stop_if=[AtMost(Perplexity(), 1e9)]),
    ),
    _planted(
        "general text forgotten",
        "the same gain, and the perplexity of a licence's text may not rise by more than 0.05",
        "NO_GO",
        "licence: perplexity",
        _forgetful,
    ),
    Situation(
        group=_GROUP,
        name="real: rule changed afterwards",
        planted="asked for 99 points, saw fewer, asks for 10",
        expected="INCONCLUSIVE",
        says="rule changed after the holdout was opened",
        play=one_after_another(_changed_rule),
    ),
    Situation(
        group=_GROUP,
        name="real: another experiment, the same answers",
        planted="the true gain again under another name: one candidate, one look, nothing computed anew",
        expected="GO",
        says="interval shows",
        play=_again_under_another_name,
    ),
)
