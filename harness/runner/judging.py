"""Gathered answers -> scores, comparisons, decision: the rows that replace an experiment's last judgement."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from harness.compare import Comparison, compare, standing
from harness.decide import Decision, Verdict, decide
from harness.plan import Stage
from harness.protocols import Executed, JudgedMetric, Named, PairMetric
from harness.runner.context import Run
from harness.runner.declaration import declared
from harness.runner.gathering import BySeed, Gathered, Guarded
from harness.runner.scoring import Scored, applies, can_measure, preferred, questions, scored
from harness.samples import Split
from harness.store.rows import (
    CheckRow,
    ComparisonRow,
    DecisionRow,
    ExperimentRow,
    ExperimentStageRow,
    SampleRow,
    ScoreRow,
    SystemMeanRow,
    SystemRow,
)
from harness.store.store import Judgement


@dataclass
class _Tables:
    """Rows as they are made."""

    scores: list[ScoreRow] = field(default_factory=list)
    means: list[SystemMeanRow] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    shown: list[ComparisonRow] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)


def judge(run: Run, seen: Gathered, *, file: str, source: str, known_negative: bool) -> Decision:
    """Score, compare, decide and store; returns the decision."""
    tables = _Tables()
    for by_seed in seen.dev:
        for metric in run.plan.experiment.metrics:
            if applies(metric, by_seed[0]):
                _keep_mean(run, tables, scored(run, metric, by_seed), Split.DEV)
    if seen.holdout is not None:
        _compare_pair(run, tables, *seen.holdout)
    for guarded in seen.guards:
        _compare_guard(run, tables, guarded)
    post_hoc = rule_changed_after_holdout(run)
    decision = seen.stopped or _decide(run, seen, tables, post_hoc=post_hoc)
    run.store.judge(
        Judgement(
            experiment=_experiment_row(run, file, source, tables.units),
            memberships=tuple(_memberships(run, seen)),
            systems=tuple(_systems(run, seen)),
            samples=tuple(_samples(run)),
            scores=tables.scores,
            comparisons=tables.shown,
            system_means=tables.means,
            checks=tuple(_checks(run, seen)),
            decision=_decision_row(run, decision, post_hoc=post_hoc, known_negative=known_negative),
        )
    )
    return decision


def rule_changed_after_holdout(run: Run) -> bool:
    """True when this experiment opened this holdout under another rule than today's."""
    mine = [look for look in run.store.looks(run.plan.holdout_key) if look.experiment == run.plan.name]
    first = min(mine, key=lambda look: look.looked_at, default=None)
    return first is not None and first.criteria_key != run.plan.criteria_key


def _decide(run: Run, seen: Gathered, tables: _Tables, *, post_hoc: bool) -> Decision:
    experiment = run.plan.experiment
    if not seen.trusted or seen.holdout is not None:
        return decide(experiment.go_if, experiment.guards, tables.comparisons, seen.checks, post_hoc=post_hoc)
    return Decision(verdict=Verdict.INCONCLUSIVE, reason="stopped on request before the holdout was opened")


def _compare_pair(run: Run, tables: _Tables, baseline: BySeed, tuned: BySeed) -> None:
    for metric in run.plan.experiment.metrics:
        if not (can_measure(metric, baseline[0]) and can_measure(metric, tuned[0])):
            continue
        if isinstance(metric, PairMetric | JudgedMetric):
            ours, theirs = preferred(run, metric, tuned, baseline[0])
            sides = (theirs, ours)
        else:
            sides = (scored(run, metric, baseline), scored(run, metric, tuned))
        for side in sides:
            _keep_mean(run, tables, side, Split.HOLDOUT)
        _keep_comparison(run, tables, _compared(metric, *sides))


def _compare_guard(run: Run, tables: _Tables, guarded: Guarded) -> None:
    metric = guarded.guard.metric
    sides = (scored(run, metric, guarded.untuned), scored(run, metric, guarded.tuned))
    _keep_comparison(run, tables, replace(_compared(metric, *sides), metric=guarded.guard.comparison_name))


def _compared(metric: Named, baseline: Scored, tuned: Scored) -> Comparison:
    return compare(metric, split=Split.HOLDOUT.value, baseline=baseline.for_comparison(), tuned=tuned.for_comparison())


def _keep_mean(run: Run, tables: _Tables, side: Scored, split: Split) -> None:
    tables.scores.extend(side.rows(run, split))
    stands = standing(side.metric, split=split.value, system=side.for_comparison())
    tables.units[side.metric.name] = stands.unit
    tables.means.append(
        SystemMeanRow(
            experiment=run.plan.name,
            system=stands.tuned,
            split=split.value,
            metric=side.metric.name,
            better=side.metric.better,
            mean=stands.tuned_mean,
            low=_finite(stands.tuned_low),
            high=_finite(stands.tuned_high),
            samples=stands.samples,
        )
    )


def _keep_comparison(run: Run, tables: _Tables, found: Comparison) -> None:
    tables.comparisons.append(found)
    tables.units[found.metric] = found.unit
    tables.shown.append(
        ComparisonRow(
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
        )
    )


def _finite(value: float) -> float | None:
    """Unbounded ends and undefined p values are NULL in the store."""
    return value if abs(value) < float("inf") else None


def _experiment_row(run: Run, file: str, source: str, units: dict[str, str]) -> ExperimentRow:
    return ExperimentRow(
        name=run.plan.name,
        question=run.plan.experiment.question,
        declaration={**declared(run.plan, file=file, source=source), "units": units},
        criteria_key=run.plan.criteria_key,
        created_at=run.clock(),
    )


def _decision_row(run: Run, decision: Decision, *, post_hoc: bool, known_negative: bool) -> DecisionRow:
    return DecisionRow(
        experiment=run.plan.name,
        decided_at=run.clock(),
        verdict=decision.verdict.value,
        reason=decision.reason,
        findings=[
            {name: _json_number(value) for name, value in asdict(finding).items()} for finding in decision.findings
        ],
        criteria_key=run.plan.criteria_key,
        post_hoc=post_hoc,
        known_negative=known_negative,
    )


def _json_number(value: object) -> object:
    return _finite(value) if isinstance(value, float) else value


def _systems(run: Run, seen: Gathered) -> Iterator[SystemRow]:
    for system in (*run.plan.baselines, *run.plan.tuned):
        yield SystemRow(
            experiment=run.plan.name,
            system=system.name,
            role=system.role,
            model=system.model.name,
            description=repr(system.recipe or system.strategy),
            chosen=system in (seen.baseline, seen.tuned),
            price_in=getattr(system.model, "price_in", None),
            price_out=getattr(system.model, "price_out", None),
        )


def _memberships(run: Run, seen: Gathered) -> Iterator[ExperimentStageRow]:
    used = {stage.key: stage for stage in _used_stages(run, seen)}
    for stage in used.values():
        yield ExperimentStageRow(
            experiment=run.plan.name,
            stage_key=stage.key,
            system=stage.system,
            kind=stage.kind,
            split=stage.split.value if stage.split else None,
            seed=stage.seed,
        )


def _used_stages(run: Run, seen: Gathered) -> Iterator[Stage]:
    """Yield the stages the evidence stands on, with those of metrics that run a model."""
    answering = list(_answering_stages(run, seen))
    yield from answering
    for metric in run.plan.experiment.metrics:
        if isinstance(metric, Executed):
            yield from (run.plan.measure(metric, stage) for stage in answering if stage.kind == "answer")
        if isinstance(metric, JudgedMetric) and metric.judge is not None and seen.holdout is not None:
            baseline, tuned = seen.holdout
            yield from (questions(run, metric, one, baseline[0])[0] for one in tuned)


def _answering_stages(run: Run, seen: Gathered) -> Iterator[Stage]:
    yield run.plan.audit()
    groups: list[Sequence[BySeed]] = [seen.dev, seen.holdout or ()]
    for split, systems in zip((Split.DEV, Split.HOLDOUT), groups, strict=True):
        for by_seed in systems:
            for one in by_seed:
                yield from run.plan.answering(one.system, run.plan.experiment.task, split, one.stage.seed)
    for guarded in seen.guards:
        for one in (*guarded.untuned, *guarded.tuned):
            yield one.stage
    if seen.stopped is None:
        for system in run.plan.tuned:
            for seed in run.plan.experiment.seeds:
                yield run.plan.tune(system, seed)


def _samples(run: Run) -> Iterator[SampleRow]:
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
                cluster=sample.group,
                tags=dict(sample.tags),
            )


def _checks(run: Run, seen: Gathered) -> Iterator[CheckRow]:
    for position, check in enumerate(seen.checks):
        yield CheckRow(
            experiment=run.plan.name,
            position=position,
            name=check.name,
            status=check.status,
            detail=check.detail,
            items=list(check.items),
        )
