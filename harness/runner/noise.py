"""The best baseline asked again on DEV in other circumstances: what its scores move by is the noise of measuring.

Each circumstance is stages of kind "noise", stored and resumed as any.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from harness.compare import standing, statistic_of
from harness.criteria import Criterion
from harness.fingerprint import fingerprint
from harness.insights.noise import NoiseFloor, noise_of, not_measured
from harness.metrics import Latency
from harness.model_files import locate
from harness.models import ENGINES, AnyModel, Endpoint, Model
from harness.plan import Plan, model_key
from harness.protocols import AnyMetric, AsksItself, CorpusMetric, Engine, FloatArray
from harness.runner.answering import Answered, ask
from harness.runner.context import Run, bound
from harness.runner.loading import load
from harness.runner.one_at_a_time import OneAtATime
from harness.runner.scoring import Scored, applies, scored
from harness.runner.weighing import weigh
from harness.samples import Split
from harness.systems import Stage, System

# Most samples asked again. Fewer alone: prompts that are asked one at a time share nothing of their beginnings.
BATCHED_SAMPLES, SINGLE_SAMPLES, OTHER_DTYPE_SAMPLES = 48, 16, 24
# Bytes of weight files up to which a second model is loaded in the other dtype.
_SECOND_LOAD_AT_MOST = 4 << 30

_Circumstance = Literal["in reversed order", "one at a time", "in float32", "in bfloat16"]


def noise_floor(run: Run, system: System, answered: Answered) -> tuple[NoiseFloor, ...]:
    """Return the noise floor of every metric that go_if judges and one system's answers give.

    answered: the answers of `system` on DEV. Times differ in other circumstances by nature, so they have no floor.
    A server with a price is not asked again, and its floors say so.
    """
    metrics = [metric for metric in _judged(run) if applies(metric, answered)]
    holdout = len(run.plan.experiment.task.samples(Split.HOLDOUT))
    why = _why_not(run, system)
    again = () if why or not metrics else tuple(_asked_again(run, system, answered))
    return tuple(_floor(run, metric, again, system=system, holdout=holdout, why=why) for metric in metrics)


def noise_stages(run: Run, system: System, answered: Answered) -> tuple[Stage, ...]:
    """Return the stages that `noise_floor` stands on, those of a metric's model apart."""
    if _why_not(run, system):
        return ()
    return tuple(
        stage
        for circumstance in _circumstances(run, system, answered)
        for stage in _stages(run, system, _subset(answered, circumstance), circumstance)
        if stage
    )


def noise_keys(plan: Plan, stages: Sequence[Stage]) -> list[str]:
    """Return the keys of every stage that may have been made by asking these again: they are forgotten with them."""
    ids = [sample.id for sample in plan.experiment.task.samples(Split.DEV)]
    return [
        _key(stage, circumstance, [ids[place] for place in _places(len(ids), circumstance)])
        for stage in stages
        if stage.split is Split.DEV and stage.kind in ("answer", "likelihood")
        for circumstance in get_args(_Circumstance)
    ]


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
    """Return why nothing is asked again; empty where it is."""
    model = system.model
    if isinstance(model, Endpoint) and (model.price_in is not None or model.price_out is not None):
        return f"each answer of {model.name} costs money"
    if run.plan.experiment.sampling is not None:
        return "answers are drawn, so asking again is what the repeats do"
    return ""


def _subset(answered: Answered, circumstance: _Circumstance) -> Answered:
    """Return the answers that are asked for again in this circumstance."""
    places = _places(len(answered.samples), circumstance)
    return replace(
        answered,
        samples=tuple(answered.samples[place] for place in places),
        answers=tuple(answered.answers[place] for place in places),
    )


def _places(count: int, circumstance: _Circumstance) -> list[int]:
    """Return which of `count` samples are asked again, evenly spread."""
    counts = {"in reversed order": BATCHED_SAMPLES, "one at a time": SINGLE_SAMPLES}
    most = min(counts.get(circumstance, OTHER_DTYPE_SAMPLES), count)
    return sorted({place * count // most for place in range(most)})


def _key(stage: Stage, circumstance: _Circumstance, ids: Sequence[str]) -> str:
    return fingerprint(["noise", stage.key, circumstance, list(ids)])


def _circumstances(run: Run, system: System, first: Answered) -> Iterator[_Circumstance]:
    if isinstance(run.plan.experiment.task, AsksItself):
        yield "in reversed order"
    elif isinstance(system.model, Endpoint):
        yield "one at a time"  # reversed too: a server's load is not ours to repeat
    else:
        yield from ("in reversed order", "one at a time")
    other = _other_dtype(run, system.model, first)
    if other is not None:
        yield "in float32" if other == "float32" else "in bfloat16"


def _other_dtype(run: Run, model: AnyModel, first: Answered) -> Literal["float32", "bfloat16"] | None:
    """Return the dtype that the answers were not computed in, where a second model in this process is affordable."""
    found = run.store.stage(first.stage.key)
    facts = found.environment if found and isinstance(found.environment, dict) else {}
    used = facts.get("dtype")
    if not isinstance(model, Model) or model.engine != ENGINES["transformers"] or used not in ("bfloat16", "float32"):
        return None
    files = locate(model)
    weights = list(files.folder.glob("*.safetensors" if files.gguf is None else "*.gguf"))
    if sum(path.stat().st_size for path in weights) > _SECOND_LOAD_AT_MOST:
        return None
    return "float32" if used == "bfloat16" else "bfloat16"


def _asked_again(run: Run, system: System, answered: Answered) -> Iterator[_Again]:
    for circumstance in _circumstances(run, system, answered):
        first = _subset(answered, circumstance)
        answers, weights = _stages(run, system, first, circumstance)
        for stage in (answers, weights):
            if stage is not None:
                _ensure(run, system, stage, first, circumstance)
        of_references = [] if weights is None else [replace(weights, kind="likelihood")]
        stages = [answers, *of_references]
        second = Answered(
            system, answers, first.samples, load(run, run.plan.experiment.task, stages, first.samples), tuple(stages)
        )
        yield _Again(circumstance, first, second)


def _stages(run: Run, system: System, first: Answered, circumstance: _Circumstance) -> tuple[Stage, Stage | None]:
    """Return the stage of the answers, and that of the references' likelihoods where a metric needs them."""
    ids = [sample.id for sample in first.samples]
    stages = [first.stage]
    weighed = any(getattr(metric, "needs_likelihood", False) for metric in _judged(run))
    if weighed and system.gives_likelihoods:
        stages.append(run.plan.likelihood(system, run.plan.experiment.task, Split.DEV, first.stage.seed))
    made = [replace(stage, key=_key(stage, circumstance, ids), kind="noise") for stage in stages]
    return made[0], made[1] if len(made) > 1 else None


def _ensure(run: Run, system: System, stage: Stage, first: Answered, circumstance: _Circumstance) -> None:
    """Bring one stage to its end, unless it is there. A stage of likelihoods weighs the references."""
    if run.store.stage(stage.key):
        return
    with run.lock(stage):
        if run.store.stage(stage.key):
            return
        engine = _engine(run, system.model, circumstance)
        task, backwards = run.plan.experiment.task, tuple(reversed(first.samples))
        if stage.key == _stages(run, system, first, circumstance)[0].key:
            ask(run, engine, system, task, stage, backwards)
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


def _floor(
    run: Run, metric: AnyMetric, again: Sequence[_Again], *, system: System, holdout: int, why: str
) -> NoiseFloor:
    if not again:
        unit = str(getattr(metric, "unit", ""))
        why = why or "nothing could be asked again"
        return not_measured(metric.name, system=system.name, holdout=holdout, unit=unit, why=why)
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
        return [new.value - old.value for old, new in zip(before, after, strict=True)]
    n = len(before)
    weights: FloatArray = np.vstack([np.ones((1, n)), 1.0 - np.eye(n)])
    statistic = statistic_of(metric)
    moved = statistic([score.detail for score in after], weights) - statistic(
        [score.detail for score in before], weights
    )  # (n + 1,): of the whole set, and of it without each sample
    return [float(value) for value in n * moved[0] - (n - 1) * moved[1:]]
