"""What was gathered and decided -> the rows that the store keeps.

An experiment's declaration, with its rule as values, as the store keeps it and the report shows it.
"""

import dataclasses
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from importlib import metadata
from typing import Any

from harness import metrics
from harness.analysis.slices import Slice
from harness.experiment.criteria import AtLeast, AtMost, BreakEven, Criterion, Gain, Guard, NoWorse
from harness.experiment.decide import Decision
from harness.experiment.declaration import Declaration, DeclaredCriterion, DeclaredMetric, DeclaredStatistic, Rule
from harness.experiment.experiment import Experiment
from harness.metrics import Latency
from harness.plan import TRAINING_STACK, Plan
from harness.plan.keys import Contents
from harness.runner.answers import Answered, BySeed
from harness.runner.context import Run
from harness.runner.latency import first_block, timing_stage
from harness.runner.noise import noise_stages
from harness.runner.pipeline import Gathered
from harness.runner.scoring import questions, tried_pairs
from harness.stats.compare import Comparison
from harness.stats.wording import STATISTICS
from harness.store.rows import (
    CheckRow,
    ComparisonRow,
    DecisionRow,
    ExperimentRow,
    ExperimentStageRow,
    SampleRow,
    SliceRow,
    SystemMeanRow,
    SystemRow,
)
from harness.types.codec import from_json, to_json
from harness.types.jobs import Stage
from harness.types.models import Endpoint
from harness.types.protocols import CorpusMetric, Executed, JudgedMetric, Named, PairMetric, Task
from harness.types.redact import redacted, secrets_in
from harness.types.samples import Split

# The criteria that the harness ships with, and the field that holds the number of each.
_NUMBERS: Mapping[type, str] = {
    Gain: "at_least",
    NoWorse: "by_at_most",
    AtLeast: "value",
    AtMost: "value",
    BreakEven: "requests",
}
# Those of a page are made anew from their fields; of others no code is run.
_OWN_METRICS = frozenset(getattr(metrics, name) for name in metrics.__all__)


def declared_rule(experiment: Experiment, contents: Contents) -> Rule:
    """Return criteria, guards and metrics as values."""
    return Rule(
        go_if=tuple(_criterion(item) for item in experiment.go_if),
        stop_if=tuple(_criterion(item) for item in experiment.stop_if),
        guards=tuple(_guard(item, contents) for item in experiment.guards),
        metrics=tuple(_metric(item) for item in experiment.metrics),
    )


def _criterion(item: Criterion) -> DeclaredCriterion:
    kind = type(item)
    if kind not in _NUMBERS:
        return DeclaredCriterion(kind="own", metrics=tuple(item.metrics), path=_path(item))
    return DeclaredCriterion(kind=kind.__name__, metrics=item.metrics, number=getattr(item, _NUMBERS[kind]))


def _guard(item: Guard, contents: Contents) -> DeclaredCriterion:
    if type(item) is not Guard:
        return _criterion(item)
    clusters = contents.clusters(item.task, Split.HOLDOUT)
    return DeclaredCriterion(
        kind="Guard",
        metrics=item.metrics,
        number=item.by_at_most,
        metric=_metric(item.metric),
        groups={name: cluster for name, cluster in clusters.items() if cluster is not None},
    )


def _metric(item: Named) -> DeclaredMetric:
    return DeclaredMetric(
        name=item.name,
        better=item.better,
        statistic=DeclaredStatistic(path=_path(item), fields=_plain_fields(item))
        if isinstance(item, CorpusMetric)
        else None,
        pairs=isinstance(item, PairMetric | JudgedMetric),
    )


def _plain_fields(item: object) -> dict[str, Any] | None:
    if type(item) not in _OWN_METRICS or not dataclasses.is_dataclass(item):
        return None
    names: Sequence[str] = [field.name for field in dataclasses.fields(item)]
    found = {name: getattr(item, name) for name in names}
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in found.values())
    return found if plain else None


def _path(item: object) -> str:
    return f"{type(item).__module__}:{type(item).__qualname__}"


_SHOWN_PACKAGES = (*TRAINING_STACK, "datasets", "evaluate", "bert-score", "lm-eval", "duckdb", "numpy", "scipy")
_ADDRESS = re.compile(r"https?://[^\s\"'\\<>]+")


def declared(plan: Plan, units: Mapping[str, str], *, file: str, source: str) -> Declaration:
    """Return what was declared, where, and with which versions.

    Nothing of it is a secret: a key stays in its environment variable, and only the variable's name is declared.
    """
    experiment = plan.experiment
    return Declaration(
        file=file,
        source=_without_secrets(source),
        command=f"pytest {shlex.quote(file)}" if file else f"harness.run(experiment, name={plan.name!r})",
        task=experiment.task.name,
        model=plan.model.name,
        baselines=tuple(plain_value(item) for item in experiment.baselines),
        recipes=tuple(plain_value(item) for item in experiment.recipes),
        metrics=tuple(metric.name for metric in experiment.metrics),
        go_if=tuple(described(item) for item in experiment.go_if),
        stop_if=tuple(described(item) for item in experiment.stop_if),
        guards=tuple(described(item) for item in experiment.guards),
        rule=declared_rule(experiment, plan.contents),
        seeds=tuple(experiment.seeds),
        splits={split.value: len(experiment.task.samples(split)) for split in Split},
        versions={package: _version(package) for package in _SHOWN_PACKAGES},
        units=units,
    )


def described(item: object) -> str:
    """Return a criterion as its author wrote it, or in its own words if it has some."""
    return str(getattr(item, "criterion", None) or repr(item))


def plain_value(item: object) -> Any:
    """Return a declaration as JSON values; what has no JSON form is shown by its repr."""
    if item is None or isinstance(item, bool | int | float | str):
        return item
    if isinstance(item, Task):
        return item.name  # its rows are in the store, and its code in the source
    if isinstance(item, Enum):
        return item.value
    if isinstance(item, tuple | list):
        return [plain_value(part) for part in item]
    if isinstance(item, dict):
        return {str(name): plain_value(value) for name, value in item.items()}
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        content = {part.name: plain_value(getattr(item, part.name)) for part in dataclasses.fields(item)}
        if isinstance(item, Endpoint):
            content["url"] = item.shown
        return {"kind": type(item).__name__, "name": str(getattr(item, "name", type(item).__name__)), **content}
    return repr(item)


def _without_secrets(source: str) -> str:
    """Return the text of a file without passwords and keys in the addresses that it writes."""
    return redacted(source, (secret for found in _ADDRESS.finditer(source) for secret in secrets_in(found[0])))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def comparison_row(run: Run, found: Comparison) -> ComparisonRow:
    """Return the row; unbounded ends and undefined p values are NULL in the store."""
    told = to_json(dataclasses.replace(found, projection=None))
    means = {"baseline_mean": found.baseline_mean, "tuned_mean": found.tuned_mean, "difference": found.difference}
    told |= {**means, "method": ". ".join((found.method, *found.notes))}
    return from_json(ComparisonRow, {**told, "experiment": run.plan.name})


def mean_row(run: Run, stands: Comparison) -> SystemMeanRow:
    return SystemMeanRow(
        experiment=run.plan.name,
        system=stands.tuned,
        split=stands.split,
        metric=stands.metric,
        better=stands.better,
        mean=stands.tuned_mean,
        low=_finite(stands.tuned_low),
        high=_finite(stands.tuned_high),
        samples=stands.samples,
    )


def slice_row(run: Run, part: Slice, position: int) -> SliceRow:
    return SliceRow(experiment=run.plan.name, **{**dataclasses.asdict(part), "position": position})


def _finite(value: float) -> float | None:
    """Unbounded ends and undefined p values are NULL in the store."""
    return value if math.isfinite(value) else None


def experiment_row(run: Run, file: str, source: str, units: dict[str, str]) -> ExperimentRow:
    return ExperimentRow(
        name=run.plan.name,
        question=run.plan.experiment.question,
        declaration=to_json(declared(run.plan, units, file=file, source=source)),
        criteria_key=run.plan.criteria_key,
        created_at=run.clock(),
    )


def decision_row(run: Run, decision: Decision, *, post_hoc: bool, known_negative: bool) -> DecisionRow:
    return DecisionRow(
        experiment=run.plan.name,
        decided_at=run.clock(),
        verdict=decision.verdict.value,
        reason=decision.reason,
        findings=to_json(decision.findings),
        criteria_key=run.plan.criteria_key,
        post_hoc=post_hoc,
        known_negative=known_negative,
        statistics=STATISTICS,
        about=[finding.about for finding in decision.findings],
    )


def system_rows(run: Run, seen: Gathered) -> Iterator[SystemRow]:
    between = [by_seed[0].system for by_seed in seen.steps]
    for system in (*run.plan.baselines, *run.plan.tuned, *between):
        yield SystemRow(
            experiment=run.plan.name,
            system=system.name,
            role="step" if system in between else system.role,
            model=system.model.name,
            description=repr(system.recipe or system.strategy),
            chosen=system in (seen.baseline, seen.tuned),
            price_in=getattr(system.model, "price_in", None),
            price_out=getattr(system.model, "price_out", None),
            retrieves=system.retrieves,
        )


def memberships(run: Run, seen: Gathered) -> Iterator[ExperimentStageRow]:
    # Recipes that begin alike share a trained stage, and each counts what it cost; answers are of whoever asked last.
    used = {(stage.key, stage.system if stage.kind == "tune" else ""): stage for stage in _used_stages(run, seen)}
    for stage in used.values():
        yield ExperimentStageRow(
            experiment=run.plan.name,
            stage_key=stage.key,
            system=stage.system,
            kind=stage.kind,
            split=stage.split.value if stage.split else None,
            seed=stage.seed,
            part=stage.part,
        )


def _used_stages(run: Run, seen: Gathered) -> Iterator[Stage]:
    """Yield the stages the evidence stands on, with those of metrics that run a model."""
    yield run.plan.audit()
    for answered in _all_answered(seen):
        yield from _stages_of(run, answered)
    if seen.noise and seen.baseline is not None:
        yield from noise_stages(run, seen.baseline, seen.of(seen.baseline)[0])
    judged = [one for one in run.plan.experiment.metrics if isinstance(one, JudgedMetric) and one.judge is not None]
    if seen.baseline is not None:
        own, references = tried_pairs(seen.of(seen.baseline)[0])
        yield from (questions(run, metric, references, own)[0] for metric in judged)
    if seen.stopped is None:
        for system in run.plan.tuned:
            for seed in run.plan.experiment.seeds:
                yield from (step.stage for step in run.plan.steps(system, seed))
        for by_seed in seen.parts:
            yield from (step.stage for one in by_seed for step in run.plan.steps(one.system, one.stage.seed))
    if seen.holdout is not None:
        baseline, tuned = seen.holdout.baseline, seen.holdout.tuned
        for metric in judged:
            yield from (questions(run, metric, one, baseline[one.stage.repeat % len(baseline)])[0] for one in tuned)


def _all_answered(seen: Gathered) -> Iterator[Answered]:
    in_a_row = [by_seed for row in seen.in_a_row for tried in row.tried for by_seed in tried.answered]
    groups: list[BySeed] = [*in_a_row, *seen.dev, *seen.parts, *seen.steps, *(seen.four or ())]
    groups += [seen.holdout.baseline, seen.holdout.tuned] if seen.holdout else []
    groups += [side for guarded in seen.guards for side in (guarded.untuned, guarded.tuned)]
    for by_seed in groups:
        yield from by_seed


def _stages_of(run: Run, answered: Answered) -> Iterator[Stage]:
    """Yield the stages of these answers and of their likelihoods, and those that metrics ran on them."""
    yield from answered.stages
    for metric in run.plan.experiment.metrics:
        if isinstance(metric, Executed):
            yield run.plan.measure(metric, answered.stage)
        if isinstance(metric, Latency) and metric.one_at_a_time:
            asked = first_block(answered)
            yield timing_stage(metric, asked.stage, asked.samples)


def sample_rows(run: Run) -> Iterator[SampleRow]:
    for split in Split:
        for position, sample in enumerate(run.samples(run.plan.experiment.task, split)):
            yield SampleRow(
                experiment=run.plan.name,
                split=split.value,
                sample_id=sample.id,
                position=position,
                input=sample.input,
                reference=sample.reference,
                expected=sample.expected,
                cluster=sample.cluster,
                tags=dict(sample.tags),
            )


def check_rows(run: Run, seen: Gathered) -> Iterator[CheckRow]:
    for position, check in enumerate(seen.checks):
        yield CheckRow(
            experiment=run.plan.name,
            position=position,
            name=check.name,
            status=check.status,
            detail=check.detail,
            items=list(check.items),
            kind=check.kind,
            excused=check.excused,
        )
