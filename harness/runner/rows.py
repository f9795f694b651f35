"""What was gathered and decided -> the rows that the store keeps."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from harness.compare import Comparison
from harness.decide import Decision
from harness.insights.slices import Slice
from harness.metrics import Latency
from harness.protocols import Executed, JudgedMetric
from harness.runner.answering import Answered, BySeed
from harness.runner.context import Run
from harness.runner.declaration import declared
from harness.runner.gathering import Gathered
from harness.runner.noise import noise_stages
from harness.runner.scoring import questions, tried_pairs
from harness.runner.timing import first_block, timing_stage
from harness.samples import Split
from harness.stats.version import STATISTICS
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
from harness.systems import Stage


def comparison_row(run: Run, found: Comparison) -> ComparisonRow:
    return ComparisonRow(
        experiment=run.plan.name,
        metric=found.metric,
        split=found.split,
        baseline=found.baseline,
        tuned=found.tuned,
        better=found.better,
        baseline_mean=found.baseline_mean,
        tuned_mean=found.tuned_mean,
        tuned_low=_finite(found.tuned_low),
        tuned_high=_finite(found.tuned_high),
        difference=found.difference,
        low=_finite(found.low),
        high=_finite(found.high),
        p_value=_finite(found.p_value),
        samples=found.samples,
        seeds=found.seeds,
        method=". ".join((found.method, *found.notes)),
        level=found.level,
        groups=found.groups,
    )


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
    return SliceRow(
        experiment=run.plan.name,
        metric=part.metric,
        dimension=part.dimension,
        value=part.value,
        position=position,
        samples=part.samples,
        baseline_mean=part.baseline_mean,
        tuned_mean=part.tuned_mean,
        difference=part.difference,
        low=part.low,
        high=part.high,
        p_value=part.p_value,
        q_value=part.q_value,
    )


def whole_json(content: Mapping[str, object]) -> dict[str, object]:
    """Return values that JSON has: what is infinite becomes None."""
    return {name: _whole(value) for name, value in content.items()}


def _whole(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


def _finite(value: float) -> float | None:
    """Unbounded ends and undefined p values are NULL in the store."""
    return value if math.isfinite(value) else None


def experiment_row(run: Run, file: str, source: str, units: dict[str, str]) -> ExperimentRow:
    return ExperimentRow(
        name=run.plan.name,
        question=run.plan.experiment.question,
        declaration={**declared(run.plan, file=file, source=source), "units": units},
        criteria_key=run.plan.criteria_key,
        created_at=run.clock(),
    )


def decision_row(run: Run, decision: Decision, *, post_hoc: bool, known_negative: bool) -> DecisionRow:
    return DecisionRow(
        experiment=run.plan.name,
        decided_at=run.clock(),
        verdict=decision.verdict.value,
        reason=decision.reason,
        findings=[whole_json(asdict(finding)) for finding in decision.findings],
        criteria_key=run.plan.criteria_key,
        post_hoc=post_hoc,
        known_negative=known_negative,
        statistics=STATISTICS,
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
        )
