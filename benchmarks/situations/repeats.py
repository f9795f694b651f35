"""Inputs that stand in the holdout more than once, and the samples that would decide."""

from dataclasses import replace

from benchmarks.situations.situation import Situation, once
from benchmarks.situations.world import WRONG, Words, World, words_task, world
from harness import ExactMatch, Experiment, NoWorse, Sample, Split
from harness.inference.scripted import Scripted

_GROUP = "Repeated inputs and needed samples"
_TEXTS = 10
_DRESSES = ("{}", "{}!", "  {} ", "{} ...")


def _repeated() -> Words:
    """Ten questions, each twenty times, in another dress each time."""
    task = words_task()
    rows: list[Sample] = []
    for place, sample in enumerate(task.samples(Split.HOLDOUT)):
        same = task.samples(Split.HOLDOUT)[place % _TEXTS]
        dress = _DRESSES[place // _TEXTS % len(_DRESSES)]
        rows.append(replace(sample, input=dress.format(same.input), reference=same.reference))
    return task.with_rows(Split.HOLDOUT, rows)


def _ten_inputs(**changes: object) -> Experiment:
    """Of ten questions three are right before and six after, whatever the dress."""
    task = _repeated()
    before, after = (
        {
            task.prompt(sample)[-1].content: sample.reference if place % _TEXTS < right else WRONG
            for split in (Split.DEV, Split.HOLDOUT)
            for place, sample in enumerate(task.samples(split))
        }
        for right in (3, 6)
    )
    return World(task).experiment(model=Scripted(answers=before, after_tuning=after), **changes)


def _no_failure(holdout: int) -> Experiment:
    return world(1.0, 1.0, holdout=holdout).experiment(go_if=[NoWorse(ExactMatch(), by_at_most=0.02)])


def _situation(name: str, planted: str, says: str, make: object) -> Situation:
    return Situation(group=_GROUP, name=name, planted=planted, expected="INCONCLUSIVE", says=says, play=once(make))  # type: ignore[arg-type]


SITUATIONS = (
    _situation(
        "ten inputs, twenty times each",
        "200 holdout samples are ten texts in four dresses; three right before, six after",
        "n = 10 groups of 200 samples",
        _ten_inputs,
    ),
    _situation(
        "ten inputs, looked at until they decide",
        "the same, with stop_early",
        "n = 10 groups of 200 samples",
        lambda: _ten_inputs(stop_early=True),
    ),
    _situation(
        "no failure in seven",
        "both are right on all of 7, at most 2 points worse asked",
        "about 137",
        lambda: _no_failure(7),
    ),
    _situation(
        "no failure in forty", "both are right on all of 40, the same asked", "about 137", lambda: _no_failure(40)
    ),
)
