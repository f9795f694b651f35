"""The best baseline asked again on DEV in other circumstances: what its scores move by is the noise of measuring.

Each circumstance is stages of kind "noise", stored and resumed as any. All of them together may take a tenth of the
time that the baseline's DEV answers took, so fewer samples are asked again where answers are slow.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from harness.analysis.noise_floor import NoiseFloor, noise_of, not_measured
from harness.experiment.criteria import Criterion
from harness.fingerprint import fingerprint
from harness.metrics import Latency
from harness.plan import Plan, model_key
from harness.runner.answers import Answered, Asked, OneAtATime, ask_questions, load_answers, weigh
from harness.runner.context import Run, bound
from harness.runner.scoring import Scored, applies, scored
from harness.stats.compare import standing, statistic_of, unit_of
from harness.types.jobs import Stage, System
from harness.types.model_files import locate
from harness.types.models import ENGINES, AnyModel, Endpoint, Model
from harness.types.protocols import AnyMetric, AsksItself, CorpusMetric, Engine, FloatArray, needs_likelihood
from harness.types.samples import Split

_Circumstance = Literal["in reversed order", "one at a time", "in float32", "in bfloat16"]

# Most samples asked again, and fewest that say anything.
MOST_SAMPLES: Mapping[_Circumstance, int] = MappingProxyType(
    {"in reversed order": 48, "one at a time": 16, "in float32": 24, "in bfloat16": 24}
)
FEWEST_SAMPLES = 2
# The part of the seconds of the baseline's DEV answers that asking again may take.
SHARE_OF_DEV = 0.1
# DEV answers that took less are asked again up to the most samples: there is no time to save.
_UNMETERED_SECONDS = 1.0
# A sample's time asked again, as a multiple of its time on DEV, where large batches share the beginnings of prompts.
_COST: Mapping[_Circumstance, float] = MappingProxyType(
    {"in reversed order": 1.5, "one at a time": 8.0, "in float32": 4.0, "in bfloat16": 1.5}
)
# What a batch takes before its first sample, in the same unit: the shared beginning of its prompts, read anew.
_BEGINNING: Mapping[_Circumstance, float] = MappingProxyType(
    {"in reversed order": 6.5, "one at a time": 0.0, "in float32": 13.0, "in bfloat16": 6.5}
)
# Bytes of weight files up to which a second model is loaded in the other dtype, and how many are loaded in a second.
_SECOND_LOAD_AT_MOST = 4 << 30
_LOADED_IN_A_SECOND = 200 << 20


def noise_floor(run: Run, system: System, answered: Answered) -> tuple[NoiseFloor, ...]:
    """Return the noise floor of every metric that go_if judges and one system's answers give.

    Args:
        answered: The answers of `system` on DEV. Times differ in other circumstances by nature, so they have no
            floor. A server with a price is not asked again, and its floors say so.
    """
    metrics = [metric for metric in _judged(run) if applies(metric, answered)]
    clusters = run.plan.contents.clusters(run.plan.experiment.task, Split.HOLDOUT)
    holdout = len({name if cluster is None else (cluster,) for name, cluster in clusters.items()})
    why = _why_not(run, system)
    again = () if why or not metrics else tuple(_asked_again(run, system, answered))
    why = why or f"a tenth of the time that {len(answered.samples):,} DEV answers took buys too few answers"
    if not again:
        return tuple(
            not_measured(metric.name, system=system.name, holdout=holdout, unit=unit_of(metric), why=why)
            for metric in metrics
        )
    return tuple(_floor(run, metric, again, system=system, holdout=holdout) for metric in metrics)


def noise_stages(run: Run, system: System, answered: Answered) -> tuple[Stage, ...]:
    """Return the stages that `noise_floor` stands on, those of a metric's model apart."""
    if _why_not(run, system):
        return ()
    return tuple(
        stage
        for circumstance in _affordable(run, system, answered)
        for stage in _stages(run, system, answered, circumstance)
    )


def possible_noise(plan: Plan, system: System, answers: Stage) -> tuple[Stage, ...]:
    """Return the stages that may be made by asking `system` again, the time that they take aside.

    Args:
        answers: Of DEV. Which of two dtypes is the other one is known when the system has answered.
    """
    rules: Sequence[Criterion] = plan.experiment.go_if
    wanted = {name for rule in rules for name in rule.metrics}
    judged = [m for m in plan.experiment.metrics if m.name in wanted and not isinstance(m, Latency)]
    if not judged or plan.experiment.sampling is not None or _is_priced(system.model):
        return ()
    again = [answers]
    if any(needs_likelihood(metric) for metric in judged) and system.gives_likelihoods:
        again.append(plan.likelihood(system, plan.experiment.task, Split.DEV, answers.seed))
    names: list[_Circumstance] = ["in reversed order", "one at a time"]
    if isinstance(plan.experiment.task, AsksItself):
        names = names[:1]
    elif isinstance(system.model, Endpoint):
        names = names[1:]
    if _second_model_bytes(system.model) is not None:
        names += ["in float32", "in bfloat16"]
    return tuple(replace(one, key=_key(one, name), kind="noise", part=name) for name in names for one in again)


@dataclass(frozen=True)
class _Again:
    """The same samples twice, in the same order: as first answered, and asked again."""

    circumstance: _Circumstance
    first: Answered
    second: Answered


def _judged(run: Run) -> list[AnyMetric]:
    rules: Sequence[Criterion] = run.plan.experiment.go_if
    wanted = {name for rule in rules for name in rule.metrics}
    return [m for m in run.plan.experiment.metrics if m.name in wanted and not isinstance(m, Latency)]


def _why_not(run: Run, system: System) -> str:
    """Return why nothing is asked again; empty if it is."""
    if _is_priced(system.model):
        return f"each answer of {system.model.name} costs money"
    if run.plan.experiment.sampling is not None:
        return "answers are drawn, so asking again is what the repeats do"
    return ""


def _is_priced(model: AnyModel) -> bool:
    return isinstance(model, Endpoint) and (model.price_in is not None or model.price_out is not None)


def _affordable(run: Run, system: System, answered: Answered) -> dict[_Circumstance, int]:
    """Return how many samples are asked again in each circumstance; those that cannot be afforded are left out.

    It follows from what is stored of the DEV stages alone, so that a resumed run asks what an undisturbed one asks.
    """
    count, loading = len(answered.samples), dict(_circumstances(run, system, answered))
    # As the engine counted them: what a busy machine adds between them changes nothing.
    seconds = sum(answer.seconds for answer in answered.answers)
    left = math.inf if seconds < _UNMETERED_SECONDS else SHARE_OF_DEV * seconds
    found: dict[_Circumstance, int] = {}
    # The dearest first, each with at most half of what is left: the last takes what the others could not use.
    dearest = sorted(loading, key=lambda name: (loading[name], _COST[name]), reverse=True)
    for circumstance in dearest:
        on_dev = seconds / max(count, 1)
        each, before = on_dev * _COST[circumstance], on_dev * _BEGINNING[circumstance] + loading[circumstance]
        spare = (left if circumstance == dearest[-1] else left / 2) - before
        most = min(MOST_SAMPLES[circumstance], count)
        asked = most if math.isinf(spare) or each == 0 else min(most, int(spare / each))
        if asked >= min(FEWEST_SAMPLES, count) and spare > 0:
            found[circumstance] = asked
            left -= asked * each + before
    return {name: found[name] for name in loading if name in found}


def _subset(answered: Answered, samples: int) -> Answered:
    """Return the answers to `samples` of the samples, evenly spread: they are asked for again."""
    count = len(answered.samples)
    places = sorted({place * count // samples for place in range(samples)})
    return replace(
        answered,
        samples=tuple(answered.samples[place] for place in places),
        answers=tuple(answered.answers[place] for place in places),
    )


def _key(stage: Stage, circumstance: _Circumstance) -> str:
    return fingerprint(["noise", "a tenth of DEV's time", stage.key, circumstance])


def _circumstances(run: Run, system: System, first: Answered) -> Iterator[tuple[_Circumstance, float]]:
    """Yield each circumstance with the seconds that loading another model for it takes."""
    if isinstance(run.plan.experiment.task, AsksItself):
        yield "in reversed order", 0.0
    elif isinstance(system.model, Endpoint):
        yield "one at a time", 0.0  # reversed too: a server's load is not ours to repeat
    else:
        yield from (("in reversed order", 0.0), ("one at a time", 0.0))
    found = run.store.stage(first.stage.key)
    used, size = found.facts.dtype if found else None, _second_model_bytes(system.model)
    if size is not None and used in ("float32", "bfloat16"):
        yield "in bfloat16" if used == "float32" else "in float32", size / _LOADED_IN_A_SECOND


def _second_model_bytes(model: AnyModel) -> int | None:
    """Return the size of the weight files where a second model in this process is affordable, else None."""
    if not isinstance(model, Model) or model.engine != ENGINES["transformers"]:
        return None
    files = locate(model)
    weights = list(files.folder.glob("*.safetensors" if files.gguf is None else "*.gguf"))
    size = sum(path.stat().st_size for path in weights)
    return size if size <= _SECOND_LOAD_AT_MOST else None


def _asked_again(run: Run, system: System, answered: Answered) -> Iterator[_Again]:
    for circumstance, samples in _affordable(run, system, answered).items():
        first = _subset(answered, samples)
        stages = _stages(run, system, first, circumstance)
        for stage in stages:
            _ensure(run, system, stage, first, circumstance)
        of_references = [replace(stage, kind="likelihood") for stage in stages[1:]]
        read = [stages[0], *of_references]
        second = Answered(
            system,
            stages[0],
            first.samples,
            load_answers(run, run.plan.experiment.task, read, first.samples),
            tuple(read),
        )
        yield _Again(circumstance, first, second)


def _stages(run: Run, system: System, first: Answered, circumstance: _Circumstance) -> tuple[Stage, ...]:
    """Return the stage of the answers, then that of the references' likelihoods where a metric needs them."""
    return tuple(replace(stage, key=_key(stage, circumstance), kind="noise") for stage in _measured(run, system, first))


def _measured(run: Run, system: System, first: Answered) -> list[Stage]:
    """Return the stages of DEV that are asked again: of the answers, and of the likelihoods if a metric needs them."""
    weighed = any(needs_likelihood(metric) for metric in _judged(run))
    if not weighed or not system.gives_likelihoods:
        return [first.stage]
    return [first.stage, run.plan.likelihood(system, run.plan.experiment.task, Split.DEV, first.stage.seed)]


def _ensure(run: Run, system: System, stage: Stage, first: Answered, circumstance: _Circumstance) -> None:
    """Bring one stage to its end, unless it is there. A stage of likelihoods weighs the references."""
    with run.lock(stage):
        if run.store.stage(stage.key):
            return
        engine = _engine(run, system.model, circumstance)
        task, backwards = run.plan.experiment.task, tuple(reversed(first.samples))
        if stage.key == _key(first.stage, circumstance):
            ask_questions(run, engine, Asked(system, task, stage, backwards, run.plan.decoding(task, stage.repeat)))
        else:
            prompter = bound(system.asked, task)
            weigh(run, engine, stage, [(sample.id, "", prompter(sample), sample.reference) for sample in backwards])


def _engine(run: Run, model: AnyModel, circumstance: _Circumstance) -> Engine:
    if circumstance in ("in float32", "in bfloat16"):
        assert isinstance(model, Model)
        other = replace(model, dtype="float32" if circumstance == "in float32" else "bfloat16")
        key = model_key(other)
        if not run.engines.is_open(key):
            run.engines.close()  # two models at once may not fit, and training comes next
        return run.engines.open(key, other, None)
    engine = run.engines.open(model_key(model), model, None)
    return OneAtATime(engine) if circumstance == "one at a time" else engine


def _floor(run: Run, metric: AnyMetric, again: Sequence[_Again], *, system: System, holdout: int) -> NoiseFloor:
    pairs = {one.circumstance: (scored(run, metric, [one.first]), scored(run, metric, [one.second])) for one in again}
    unit = standing(metric, split=Split.DEV.value, system=next(iter(pairs.values()))[0].for_comparison()).unit
    differences: dict[str, list[float]] = {name: _differences(metric, *pair) for name, pair in pairs.items()}
    return noise_of(metric.name, differences, system=system.name, holdout=holdout, unit=unit)


def _differences(metric: AnyMetric, first: Scored, second: Scored) -> list[float]:
    """Return by how much each sample moved, in score units; of a metric of the whole set the jackknife's values.

    Their mean is the difference of the set, so that they are treated as differences of scores are.
    """
    before, after = first.scores[0], second.scores[0]
    if not isinstance(metric, CorpusMetric) or len(before) < 2:
        moves = [new.value - old.value for old, new in zip(before, after, strict=True)]
        by_cluster: dict[object, list[float]] = {}
        for sample, moved_by in zip(first.answered[0].samples, moves, strict=True):
            by_cluster.setdefault((sample.cluster,) if sample.cluster else sample.id, []).append(moved_by)
        return [sum(of_one) / len(of_one) for of_one in by_cluster.values()]
    n = len(before)
    weights: FloatArray = np.vstack([np.ones((1, n)), 1.0 - np.eye(n)])
    statistic = statistic_of(metric)
    moved = statistic([score.detail for score in after], weights) - statistic(
        [score.detail for score in before], weights
    )  # (n + 1,): of the whole set, and of it without each sample
    return [float(value) for value in n * moved[0] - (n - 1) * moved[1:]]
