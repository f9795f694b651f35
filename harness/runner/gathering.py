"""The order of the stages: data checks, baselines on DEV, tuning, choice on DEV, the holdout last."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from harness.compare import standing
from harness.criteria import Guard
from harness.data.leakage import audit
from harness.decide import Decision, better_of, enough
from harness.plan import System
from harness.protocols import AnyMetric, HasCorpus, JudgedMetric, PairMetric
from harness.runner.answering import Answered, answered
from harness.runner.context import Run
from harness.runner.scoring import applies, scored
from harness.runner.streaming import guarded, machine, stage_row
from harness.runner.training import ensure_tuned, tuning_checks
from harness.samples import Check, Split
from harness.store.rows import LookRow

Until = Literal["baseline", "tuning"]
BySeed = tuple[Answered, ...]


@dataclass(frozen=True)
class Guarded:
    """What the untuned and the tuned model answered to a guard's task."""

    guard: Guard
    untuned: BySeed
    tuned: BySeed


@dataclass(frozen=True)
class Gathered:
    """The evidence so far. dev: every system measured, baselines first. holdout: the chosen pair, if it came to that.

    stopped: the decision of `stop_if`, with which nothing was tuned.
    """

    checks: tuple[Check, ...]
    dev: tuple[BySeed, ...] = ()
    baseline: System | None = None
    tuned: System | None = None
    holdout: tuple[BySeed, BySeed] | None = None
    guards: tuple[Guarded, ...] = ()
    stopped: Decision | None = None

    @property
    def trusted(self) -> bool:
        return all(check.status != "invalid" for check in self.checks)


def gather(run: Run, *, until: Until | None = None) -> Gathered:
    """Bring every stage that the verdict needs to its end; a finished stage costs a look into the store."""
    seen = Gathered(checks=data_checks(run))
    if not seen.trusted:
        return seen
    seen = _measure_baselines(run, seen)
    if seen.stopped is not None or until == "baseline":
        return seen
    seen = _tune(run, seen)
    if not seen.trusted or until == "tuning":
        return seen
    return _open_holdout(run, seen)


def primary_metric(run: Run) -> AnyMetric:
    """Return the metric that systems are chosen by: that of the first criterion which scores one system alone."""
    by_name = {metric.name: metric for metric in run.plan.experiment.metrics}
    wanted = [by_name[name] for criterion in run.plan.experiment.go_if for name in criterion.metrics]
    alone = [metric for metric in (*wanted, *by_name.values()) if not isinstance(metric, PairMetric | JudgedMetric)]
    return (alone or wanted)[0]


def data_checks(run: Run) -> tuple[Check, ...]:
    """Return the audit of the data: leakage, duplicates, sizes."""
    stage = run.plan.audit()
    found = run.store.stage(stage.key)
    if found is None:
        with run.lock(stage):
            found = run.store.stage(stage.key)
            if found is None:
                _audit(run)
                found = run.store.stage(stage.key)
    assert found is not None
    assert isinstance(found.environment, dict)
    return tuple(
        Check(name=item["name"], status=item["status"], detail=item["detail"], items=tuple(item["items"]))
        for item in found.environment["checks"]
    )


def _audit(run: Run) -> None:
    stage, task = run.plan.audit(), run.plan.experiment.task
    started, began = run.clock(), time.monotonic()
    with guarded(run, stage):
        pools = {split.value: task.samples(split) for split in Split}
        corpus = task.corpus() if isinstance(task, HasCorpus) else ()
        checks = audit(pools, corpus, corpus_is_lookup=bool(getattr(task, "corpus_is_lookup", False)))
        run.store.finish(
            stage_row(
                run,
                stage,
                started=started,
                seconds=time.monotonic() - began,
                tokens=(0, 0),
                environment={**machine(), "checks": [asdict(check) for check in checks]},
            )
        )


def _measure_baselines(run: Run, seen: Gathered) -> Gathered:
    task = run.plan.experiment.task
    baselines = tuple((answered(run, system, task, Split.DEV, 0),) for system in run.plan.baselines)
    best = _best(run, baselines)
    _rehearse(run, best)
    return replace(seen, dev=baselines, baseline=best[0].system, stopped=_stopped(run, best))


def _rehearse(run: Run, best: BySeed) -> None:
    """Score with every metric once: one that is broken must not cost a training run, or the holdout's first look."""
    for metric in run.plan.experiment.metrics:
        if applies(metric, best[0]):
            scored(run, metric, best)


def _stopped(run: Run, best: BySeed) -> Decision | None:
    """Return the decision that tuning is not worth trying, where stop_if says so of the best baseline."""
    criteria = run.plan.experiment.stop_if
    if not criteria:
        return None
    needed = {name for criterion in criteria for name in criterion.metrics}
    metrics = [metric for metric in run.plan.experiment.metrics if metric.name in needed]
    standings = [
        standing(metric, split=Split.DEV.value, system=scored(run, metric, best).for_comparison()) for metric in metrics
    ]
    return enough(criteria, standings)


def _tune(run: Run, seen: Gathered) -> Gathered:
    checks = list(seen.checks)
    seeds = run.plan.experiment.seeds
    for system in run.plan.tuned:
        for seed in seeds:
            ensure_tuned(run, system, seed)
            checks += tuning_checks(run, system, seed)
    seen = replace(seen, checks=tuple(checks))
    if not seen.trusted:
        return seen
    task = run.plan.experiment.task
    tuned = tuple(tuple(answered(run, system, task, Split.DEV, seed) for seed in seeds) for system in run.plan.tuned)
    return replace(seen, dev=(*seen.dev, *tuned), tuned=_best(run, tuned)[0].system)


def _best(run: Run, systems: Sequence[BySeed]) -> BySeed:
    """Return the system that is best on DEV by the primary metric; ties go to the first declared."""
    metric = primary_metric(run)
    standings = [
        standing(metric, split=Split.DEV.value, system=scored(run, metric, by_seed).for_comparison())
        for by_seed in systems
    ]
    name = better_of(metric, standings)
    return next(by_seed for by_seed in systems if by_seed[0].system.name == name)


def _open_holdout(run: Run, seen: Gathered) -> Gathered:
    baseline, tuned = seen.baseline, seen.tuned
    assert baseline is not None
    assert tuned is not None
    task, seeds = run.plan.experiment.task, run.plan.experiment.seeds
    # The looks and the rule in force are on record before the first answer is asked for.
    for system, seed in [(baseline, 0), *((tuned, seed) for seed in seeds)]:
        _look(run, system, seed)
    pair = (
        (answered(run, baseline, task, Split.HOLDOUT, 0),),
        tuple(answered(run, tuned, task, Split.HOLDOUT, seed) for seed in seeds),
    )
    return replace(seen, holdout=pair, guards=tuple(_guard(run, guard, tuned) for guard in run.plan.experiment.guards))


def _look(run: Run, system: System, seed: int) -> None:
    stage = run.plan.answer(system, run.plan.experiment.task, Split.HOLDOUT, seed)
    run.store.look(
        LookRow(
            holdout_key=run.plan.holdout_key,
            experiment=run.plan.name,
            system=system.name,
            stage_key=stage.key,
            criteria_key=run.plan.criteria_key,
            looked_at=run.clock(),
        )
    )


def _guard(run: Run, guard: Guard, tuned: System) -> Guarded:
    plain = run.plan.guarded(tuned)
    return Guarded(
        guard=guard,
        untuned=(answered(run, run.plan.untuned, guard.task, Split.HOLDOUT, 0),),
        tuned=tuple(answered(run, plain, guard.task, Split.HOLDOUT, seed) for seed in run.plan.experiment.seeds),
    )
