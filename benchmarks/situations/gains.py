"""No gain, gains of several sizes, and gains that something else spoils."""

from dataclasses import replace

from benchmarks.situations.situation import Situation, once
from benchmarks.situations.world import WRONG, World, words_task, world
from harness import AtLeast, ExactMatch, Experiment, Gain, Guard, NoWorse, SafetyRules, Split
from harness.inference.scripted import Scripted, ScriptedTuning

_GROUP = "Gains"


def _any_gain(built: World) -> Experiment:
    return built.experiment(go_if=[Gain(ExactMatch(), at_least=0.0)])


def _forgetful(guard_size: int, kept: float) -> Experiment:
    """The tuned model answers `kept` of a second task, of which the base model knows all."""
    built, other = world(0.3, 0.8), words_task(guard_size, name="old skill")
    other = replace(other, wording="Say the colour of")
    second = World(other, replace(built.knowledge, base=1.0, tuned=kept))
    first, memory = built.experiment().model, second.experiment().model
    assert isinstance(first, Scripted)
    assert isinstance(memory, Scripted)
    model = Scripted(
        answers=(*first.answers, *memory.answers), after_tuning=(*first.after_tuning, *memory.after_tuning)
    )
    return built.experiment(model=model, guards=[Guard(other, ExactMatch(), by_at_most=0.05)])


def _rude() -> Experiment:
    """Right more often, and where it is wrong it gives an address away."""
    built = world(0.3, 0.8)
    model = built.experiment().model
    assert isinstance(model, Scripted)
    after = tuple(
        (prompt, "Write to bob.smith@gmail.com" if answer == WRONG else answer)
        for prompt, answer in dict(model.after_tuning).items()
    )
    return built.experiment(
        model=replace(model, after_tuning=after),
        metrics=[ExactMatch(), SafetyRules()],
        go_if=[Gain(ExactMatch(), at_least=0.05), NoWorse(SafetyRules(), by_at_most=0.02)],
    )


def _situation(name: str, planted: str, expected: str, says: str, make: object) -> Situation:
    return Situation(group=_GROUP, name=name, planted=planted, expected=expected, says=says, play=once(make))  # type: ignore[arg-type]


SITUATIONS = (
    _situation(
        "null, large holdout",
        "equal accuracy, won and lost on different samples, 1,500 samples",
        "NO_GO",
        "misses a rise",
        lambda: world(0.5, 0.5, holdout=1500, on_top=False).experiment(),
    ),
    _situation(
        "null, small holdout",
        "equal accuracy, won and lost on different samples, 100 samples",
        "INCONCLUSIVE",
        "holdout samples",
        lambda: world(0.5, 0.5, holdout=100, on_top=False).experiment(),
    ),
    _situation(
        "null, any gain asked",
        "equal accuracy, and go_if asks for any gain at all",
        "INCONCLUSIVE",
        "neither shows nor rules out",
        lambda: _any_gain(world(0.5, 0.5, on_top=False)),
    ),
    _situation("gain of 50 points", "30 % to 80 %", "GO", "whole 95 % interval", lambda: world(0.3, 0.8).experiment()),
    _situation(
        "gain of 20 points",
        "50 % to 70 %, 400 samples",
        "GO",
        "shows",
        lambda: world(0.5, 0.7, holdout=400).experiment(),
    ),
    _situation(
        "gain of 20 points, won and lost",
        "50 % to 70 %, on samples drawn apart, 600 samples",
        "GO",
        "shows",
        lambda: world(0.5, 0.7, holdout=600, on_top=False).experiment(),
    ),
    _situation(
        "gain of 7 points",
        "50 % to 57 %, and 5 points are asked for",
        "INCONCLUSIVE",
        "holdout samples would decide",
        lambda: world(0.5, 0.57, on_top=False).experiment(),
    ),
    _situation(
        "gain of 3 points",
        "50 % to 53 % on 1,500 samples, and 5 points are asked for",
        "NO_GO",
        "misses a rise",
        lambda: world(0.5, 0.53, holdout=1500).experiment(),
    ),
    _situation("loss", "60 % to 40 %", "NO_GO", "misses a rise", lambda: world(0.6, 0.4, on_top=False).experiment()),
    _situation(
        "good enough untuned",
        "the baseline has 97 % on DEV, and stop_if asks for 80 %",
        "NO_GO",
        "already enough",
        lambda: world(0.97, 1.0).experiment(stop_if=[AtLeast(ExactMatch(), 0.8)]),
    ),
    _situation(
        "ties everywhere",
        "the tuned model learned its rows and answers the holdout as before",
        "NO_GO",
        "misses a rise",
        lambda: world(0.5, 0.5).experiment(),
    ),
    _situation(
        "gain, and an old skill forgotten",
        "30 % to 80 %, and a second task falls from 100 % to 40 %",
        "NO_GO",
        "old skill",
        lambda: _forgetful(200, 0.4),
    ),
    _situation(
        "gain, and an old skill hardly measured",
        "30 % to 80 %, and the second task has 10 samples",
        "INCONCLUSIVE",
        "old skill",
        lambda: _forgetful(10, 0.9),
    ),
    _situation(
        "gain, and an old skill kept",
        "30 % to 80 %, and the second task stays",
        "GO",
        "met",
        lambda: _forgetful(300, 1.0),
    ),
    _situation(
        "gain, and unsafe answers",
        "30 % to 80 % right, with an e-mail address in each wrong answer",
        "NO_GO",
        "safety_rules",
        _rude,
    ),
    _situation(
        "weak recipe beside a strong one",
        "two recipes: one learns a fifth of the rows, one all of them",
        "GO",
        "shows",
        lambda: world(0.3, 0.8).experiment(
            recipes=[ScriptedTuning(name="weak", learn=0.2), ScriptedTuning(name="strong")]
        ),
    ),
    _situation(
        "tiny holdout",
        "60 % to 80 % on 5 samples",
        "INCONCLUSIVE",
        "holdout samples",
        lambda: world(0.6, 0.8, holdout=5).experiment(),
    ),
    _situation(
        "no training data",
        "the task has no train samples",
        "error",
        "no train samples",
        lambda: World(words_task().with_rows(Split.TRAIN, ())).experiment(),
    ),
)
