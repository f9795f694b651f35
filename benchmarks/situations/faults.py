"""Training that went wrong, and measurements that cannot be trusted."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from benchmarks.situations import servers
from benchmarks.situations.engines import Misbehaving, Partial
from benchmarks.situations.situation import Situation, once
from benchmarks.situations.trainers import Faulty, Lucky
from benchmarks.situations.world import Knowledge, World, words_task, world
from harness import BERTScore, ExactMatch, Experiment, Gain, Numeric, Preference, Split, ZeroShot
from harness.inference.scripted import Scripted, ScriptedTuning
from harness.types.protocols import Direction
from harness.types.samples import Answer, Sample

_TRAINING = "Training"
_MEASURING = "Measuring"
_EXPERT = "You are an expert in colours."


@dataclass(frozen=True)
class Broken:
    """A metric of a user's own that gives `value` for one sample, or raises where it is None."""

    value: float | None = None
    name: str = "broken"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> float:
        if sample.id != "dev-7":
            return 1.0
        if self.value is None:
            raise KeyError("colour")
        return self.value


def _with_metric(metric: Broken) -> Experiment:
    return world(0.3, 0.8).experiment(metrics=[ExactMatch(), metric])


def _misbehaving(built: World, fault: str, **fields: object) -> Experiment:
    experiment = built.experiment()
    assert isinstance(experiment.model, Scripted)
    return replace(experiment, model=Misbehaving(experiment.model, fault, **fields))  # type: ignore[arg-type]


def _jittery(base: float, tuned: float) -> Experiment:
    """Asked alone, a third of the answers are others: no gain of a few points can be told from that."""
    experiment = _misbehaving(world(base, tuned, holdout=400), "jittery", stride=3)
    return replace(experiment, go_if=[Gain(ExactMatch(), at_least=0.0)])


def _shy(baselines: list[ZeroShot]) -> Experiment:
    """The base model knows as much as the tuned one, when it is asked as an expert."""
    built = world(0.3, 0.8)
    experiment = built.experiment(baselines=baselines)
    assert isinstance(experiment.model, Scripted)
    hidden = experiment.model.after_tuning
    return replace(experiment, model=Misbehaving(experiment.model, "shy", hidden=tuple(hidden)))  # type: ignore[arg-type]


def _three_customers(*, grouped: bool) -> Experiment:
    """All of the gain comes from two of twelve customers, who wrote 20 messages each."""
    task = words_task(240)
    if grouped:
        rows = [replace(s, group=f"customer {place // 20}") for place, s in enumerate(task.samples(Split.HOLDOUT))]
        task = task.with_rows(Split.HOLDOUT, rows)
    experiment = World(task, Knowledge(base=0.5, tuned=0.5)).experiment(go_if=[Gain(ExactMatch(), at_least=0.0)])
    assert isinstance(experiment.model, Scripted)
    won = {task.prompt(s)[-1].content: s.reference for s in task.samples(Split.HOLDOUT)[:40]}
    return replace(
        experiment,
        model=replace(experiment.model, after_tuning=tuple((dict(experiment.model.after_tuning) | won).items())),
    )


def _judged(base: float, tuned: float, judge: Partial) -> Experiment:
    preference = Preference(judge=judge)
    return world(base, tuned).experiment(metrics=[ExactMatch(), preference], go_if=[Gain(preference, at_least=0.05)])


_COLOURS = ("amber", "blue", "green", "red", "white")


def _about_times() -> Experiment:
    """Times of day, all in one hour: the last number of each is a number that many share."""
    task = words_task()
    for split in (Split.DEV, Split.HOLDOUT):
        rows = [replace(s, reference=f"1{place % 10}:30") for place, s in enumerate(task.samples(split))]
        task = task.with_rows(split, rows)
    return World(task, Knowledge(base=0.3, tuned=0.8)).experiment(
        metrics=[Numeric()], go_if=[Gain(Numeric(), at_least=0.05)]
    )


def _in_chinese() -> Experiment:
    """Colours in Chinese, of whose characters the packaged encoder knows a few."""
    task, named = words_task(), dict(zip(_COLOURS, ("琥珀", "蓝色", "绿色", "红色", "白色"), strict=True))
    for split in (Split.DEV, Split.HOLDOUT):
        task = task.with_rows(split, [replace(s, reference=named[s.reference]) for s in task.samples(split)])
    return World(task, Knowledge(base=0.3, tuned=0.8)).experiment(
        metrics=[BERTScore()], go_if=[Gain(BERTScore(), at_least=0.05)]
    )


def _empty_answers() -> Experiment:
    """The tuned model answers nothing at all to half of the questions."""
    experiment = world(0.6, 0.7).experiment()
    assert isinstance(experiment.model, Scripted)
    after = tuple((q, "" if place % 2 else a) for place, (q, a) in enumerate(experiment.model.after_tuning))
    return replace(experiment, model=replace(experiment.model, after_tuning=after))


def _thinking_aloud() -> Experiment:
    """The base model knows all, thinks before it answers and is cut; the tuned one answers at once."""
    experiment = world(1.0, 1.0).experiment()
    assert isinstance(experiment.model, Scripted)
    thoughts = "Let me think about what this thing might look like before I say"
    before = tuple((question, f"{thoughts} {answer}") for question, answer in dict(experiment.model.answers).items())
    return replace(experiment, model=replace(experiment.model, answers=before))


def _baseline_lacks(share: float, said: str) -> Experiment:
    """The baseline says `said` to this share of the questions."""
    experiment = world(0.3, 0.8).experiment()
    assert isinstance(experiment.model, Scripted)
    asked = [experiment.task.prompt(sample)[-1].content for split in Split for sample in experiment.task.samples(split)]
    missing = dict.fromkeys(asked[:: round(1 / share)], said)
    known = dict(experiment.model.answers) | missing
    return replace(
        experiment,
        model=replace(
            experiment.model,
            answers=tuple(known.items()),
            after_tuning=tuple((dict.fromkeys(asked, "no") | dict(experiment.model.after_tuning)).items()),
        ),
    )


def _training(name: str, planted: str, expected: str, says: str, make: Callable[[], Experiment]) -> Situation:
    return Situation(group=_TRAINING, name=name, planted=planted, expected=expected, says=says, play=once(make))


def _measuring(name: str, planted: str, expected: str, says: str, make: Callable[[], Experiment]) -> Situation:
    return Situation(group=_MEASURING, name=name, planted=planted, expected=expected, says=says, play=once(make))


def _hosted(name: str, planted: str, expected: str, says: str, replies: servers.Replies) -> Situation:
    play = servers.hosted(replies)
    return Situation(group=_MEASURING, name=name, planted=planted, expected=expected, says=says, play=play)


def _parity(fault: str, planted: str, says: str) -> Situation:
    return _training(
        f"parity: {fault}", planted, "INVALID", says, lambda: world(0.3, 0.8).experiment(recipes=[Faulty(fault=fault)])
    )


SITUATIONS = (
    _parity("double BOS", "training rows begin with two BOS tokens", "double BOS"),
    _parity("no end", "training rows lack the end token", "end token is missing"),
    _parity(
        "no generation prompt", "rows lack the assistant's header before the answer", "generation prompt is missing"
    ),
    _parity("bypassed template", "rows hold the bare question, without chat template", "chat template is bypassed"),
    _parity("masked", "the loss counts nothing of the answer", "masked"),
    _parity("truncated", "rows end before the answer does", "truncated"),
    _training(
        "parity: none",
        "rows as they are served",
        "GO",
        "shows",
        lambda: world(0.3, 0.8).experiment(recipes=[Faulty(fault="none")]),
    ),
    _training(
        "zero learning rate",
        "the recipe learns nothing: tuned and base system are one",
        "INVALID",
        "added no row",
        lambda: world(0.3, 0.8).experiment(recipes=[ScriptedTuning(learn=0.0)]),
    ),
    _training(
        "training stops",
        "training raises at step 3 of 8",
        "error",
        "stopped at step 3",
        lambda: world(0.3, 0.8).experiment(recipes=[ScriptedTuning(fails_at_step=3)]),
    ),
    _training(
        "one lucky seed",
        "one of three seeds learns 90 % of the rows, the others 5 %",
        "INCONCLUSIVE",
        "seeds",
        lambda: world(0.3, 0.8).experiment(recipes=[Lucky(shares=((1, 0.9), (2, 0.05), (3, 0.05)))], seeds=(1, 2, 3)),
    ),
    _training(
        "three steady seeds",
        "each of three seeds learns 90 % of the rows",
        "GO",
        "3 seeds",
        lambda: world(0.3, 0.8).experiment(recipes=[ScriptedTuning(learn=0.9)], seeds=(1, 2, 3)),
    ),
    _training(
        "shuffled labels",
        "what was learned is right as often as chance would be",
        "NO_GO",
        "misses a rise",
        lambda: world(0.5, 0.2, on_top=False).experiment(),
    ),
    _measuring(
        "straw-man baseline",
        "one weak prompt; asked as an expert, the base model would be as good",
        "GO",
        "",
        lambda: _shy([ZeroShot()]),
    ),
    _measuring(
        "straw man replaced",
        "the same with two instructions to choose from on DEV",
        "NO_GO",
        "misses a rise",
        lambda: _shy([ZeroShot(instruction=(None, _EXPERT))]),
    ),
    _measuring("metric raises", "a metric raises on one DEV sample", "error", "dev-7", lambda: _with_metric(Broken())),
    _measuring(
        "metric gives NaN", "a metric gives NaN on one sample", "error", "dev-7", lambda: _with_metric(Broken(math.nan))
    ),
    _measuring(
        "missing answers",
        "the engine leaves one answer out",
        "error",
        "no answer",
        lambda: _misbehaving(world(0.3, 0.8), "silent"),
    ),
    _measuring(
        "empty answers", "the tuned model says nothing to half of the samples", "NO_GO", "misses a rise", _empty_answers
    ),
    _measuring(
        "cut baseline",
        "the baseline knows all, thinks aloud and is cut in every answer; the tuned model answers at once",
        "INVALID",
        "raise answer_tokens",
        _thinking_aloud,
    ),
    _measuring(
        "silent baseline",
        "the baseline says nothing to a tenth of the samples",
        "INVALID",
        "empty",
        lambda: _baseline_lacks(0.1, ""),
    ),
    _measuring(
        "baseline silent now and then",
        "the baseline says nothing to a twentieth of the samples",
        "GO",
        "shows",
        lambda: _baseline_lacks(0.05, ""),
    ),
    _hosted(
        "list of parts",
        "the hosted baseline knows 80 %, replies in lists of parts and thoughts; the tuned model knows 30 %",
        "NO_GO",
        "misses a rise",
        servers.parts,
    ),
    _hosted(
        "thoughts only",
        "the hosted baseline thinks until it is cut, in a field of its own",
        "INVALID",
        "cut while thinking",
        servers.thoughts_only,
    ),
    _hosted(
        "filtered prompts",
        "the hosted baseline's content filter refuses a fifth of the prompts with status 400",
        "INVALID",
        "content filter",
        servers.filtered,
    ),
    _measuring(
        "groups declared",
        "all of the gain comes from 2 of 12 customers, named as groups",
        "INCONCLUSIVE",
        "rise",
        lambda: _three_customers(grouped=True),
    ),
    _measuring(
        "groups not declared",
        "the same with the customers left out: nothing can see it",
        "GO",
        "shows",
        lambda: _three_customers(grouped=False),
    ),
    _measuring(
        "judge with position bias",
        "the judge prefers whatever is shown first, in both orders",
        "NO_GO",
        "preference",
        lambda: _judged(0.3, 0.8, Partial("A")),
    ),
    _measuring(
        "judge that knows",
        "the judge prefers the right answer in both orders",
        "GO",
        "preference",
        lambda: _judged(0.3, 0.8, Partial("right", right=_COLOURS)),
    ),
    _measuring(
        "judge that answers in JSON",
        "the same judge puts its verdict into a fenced JSON object",
        "GO",
        "preference",
        lambda: _judged(
            0.3, 0.8, Partial("right", right=_COLOURS, says='```json\n{"verdict": {"winner": "{winner}"}}\n```')
        ),
    ),
    _measuring(
        "unread judge",
        "the same judge says nothing definite of every eighth pair",
        "INVALID",
        "not understood",
        lambda: _judged(0.3, 0.8, Partial("right", right=_COLOURS, mumbles=8)),
    ),
    _measuring(
        "wrong numbers",
        "references are times of day, of which the last number says nothing",
        "INVALID",
        "no single number",
        _about_times,
    ),
    _measuring(
        "unknown script",
        "BERTScore with the English encoder on references in Chinese",
        "INVALID",
        "Chrf()",
        _in_chinese,
    ),
    _measuring(
        "gain inside the noise",
        "a gain of 4 points, and asking one at a time changes a third of the answers",
        "INCONCLUSIVE",
        "noise",
        lambda: _jittery(0.5, 0.54),
    ),
    _measuring(
        "gain above the noise", "a gain of 45 points under the same noise", "GO", "shows", lambda: _jittery(0.5, 0.95)
    ),
)
