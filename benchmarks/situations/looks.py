"""A holdout that was seen before, and rules that changed after it was."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.situations.situation import ERROR, Got, Situation, decide_once, one_after_another
from benchmarks.situations.world import Knowledge, World, words_task, world
from harness import ExactMatch, Experiment, Gain, Split
from harness.inference.scripted import ScriptedTuning
from harness.runner.run import Options

_GROUP = "Looks and rules"
_CANDIDATES = 20


def _narrow_gain(name: str) -> Experiment:
    """Six won and none lost of 200: exact p = 0.031, enough for a first look and not for a second."""
    return world(0.5, 0.53).experiment(go_if=[Gain(ExactMatch(), at_least=0.0)], recipes=[ScriptedTuning(name=name)])


def _changed_threshold() -> Sequence[tuple[str, Experiment]]:
    built = world(0.5, 0.7, holdout=400)
    strict = built.experiment(go_if=[Gain(ExactMatch(), at_least=0.3)])
    return [("planted", strict), ("planted", replace(strict, go_if=[Gain(ExactMatch(), at_least=0.05)]))]


def _hard_samples_dropped() -> Sequence[tuple[str, Experiment]]:
    """After the look, ten samples that only the baseline got right are taken out of the holdout."""
    built = world(0.5, 0.57, on_top=False)
    base, tuned = built.knowledge.places(200)
    lost = sorted(base - tuned)[:30]
    rows = [s for place, s in enumerate(built.task.samples(Split.HOLDOUT)) if place not in lost]
    fewer = built.experiment(task=built.task.with_rows(Split.HOLDOUT, rows))
    return [("planted", built.experiment()), ("planted", fewer)]


def _metric_added() -> Sequence[tuple[str, Experiment]]:
    experiment = world(0.3, 0.8).experiment()
    return [("planted", experiment), ("planted", replace(experiment, go_if=[Gain(ExactMatch(), at_least=0.04)]))]


def _the_same_again() -> Sequence[tuple[str, Experiment]]:
    experiment = _narrow_gain("candidate")
    return [("planted", experiment), ("planted", experiment)]


def _second_candidate() -> Sequence[tuple[str, Experiment]]:
    other = world(0.5, 0.5, on_top=False).experiment(recipes=[ScriptedTuning(name="first try", learn=0.9)])
    return [("elsewhere", other), ("planted", _narrow_gain("second try"))]


def _twenty_nulls(folder: Path) -> Got:
    """Twenty recipes that change nothing but which samples are right, one after another, any gain at all asked for."""
    gots = []
    for number in range(_CANDIDATES):
        drawn = random.Random(number)  # noqa: S311 - which samples a null recipe gets right
        right = sum(drawn.random() < 0.5 for _ in range(200)) / 200
        built = World(words_task(), Knowledge(base=0.5, tuned=right, tuned_on_top=False, seed=number))
        recipe = ScriptedTuning(name=f"try {number}")
        experiment = built.experiment(recipes=[recipe], go_if=[Gain(ExactMatch(), at_least=0.0)])
        gots.append(decide_once(experiment, folder, name=f"try-{number}"))
    found = [got for got in gots if got.verdict in ("GO", ERROR)]
    return found[0] if found else gots[-1]


def _stopped_before(folder: Path) -> Got:
    return decide_once(world(0.3, 0.8).experiment(), folder, options=Options(until="tuning"))


SITUATIONS = (
    Situation(
        group=_GROUP,
        name="a narrow gain, first look",
        planted="6 won, none lost of 200 (exact p = 0.031), any gain asked; run twice, which is one look",
        expected="GO",
        says="95 % interval shows",
        play=one_after_another(_the_same_again),
    ),
    Situation(
        group=_GROUP,
        name="a narrow gain, second look",
        planted="the same pair after another recipe has met the holdout",
        expected="INCONCLUSIVE",
        says="97.5 % interval",
        play=one_after_another(_second_candidate),
    ),
    Situation(
        group=_GROUP,
        name="twenty null candidates",
        planted="twenty recipes without effect meet one holdout, one after another: any GO would count",
        expected="INCONCLUSIVE",
        says="interval neither shows nor rules out",
        play=_twenty_nulls,
    ),
    Situation(
        group=_GROUP,
        name="threshold lowered afterwards",
        planted="asked for 30 points, saw 20, asks for 5",
        expected="INCONCLUSIVE",
        says="rule changed after the holdout was opened",
        play=one_after_another(_changed_threshold),
    ),
    Situation(
        group=_GROUP,
        name="threshold lowered by a point",
        planted="met with 5 points, run again with 4",
        expected="INCONCLUSIVE",
        says="rule changed after the holdout was opened",
        play=one_after_another(_metric_added),
    ),
    Situation(
        group=_GROUP,
        name="lost samples dropped afterwards",
        planted="30 samples that the tuned model lost are taken out after the look",
        expected="INCONCLUSIVE",
        says="rule changed after the holdout was opened",
        play=one_after_another(_hard_samples_dropped),
    ),
    Situation(
        group=_GROUP,
        name="holdout not opened",
        planted="stopped after tuning, as asked",
        expected="INCONCLUSIVE",
        says="before the holdout was opened",
        play=_stopped_before,
    ),
)
