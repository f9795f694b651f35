"""The order of the stages: data checks, baselines on DEV, tuning, choice on DEV, the holdout last."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.analysis.collapse import collapse
from harness.analysis.endings import Endings
from harness.analysis.holdout_power import EnoughEvidence
from harness.analysis.noise_floor import NoiseFloor
from harness.analysis.retrieval_table import lookups
from harness.data.leakage.audit import leaked_holdout_ids
from harness.experiment.criteria import Guard
from harness.experiment.decide import Decision, enough
from harness.experiment.experiment import Experiment
from harness.runner.answers import BySeed, answered_by_seed
from harness.runner.checks import (
    baseline_checks,
    data_checks,
    endings_of,
    evaluation_parity,
    reference_checks,
    tuned_checks,
)
from harness.runner.context import Run
from harness.runner.dev_analyses import (
    GuardedSystem,
    TasksInARow,
    best_of,
    between_steps,
    four_ways,
    learning_points,
    measure_forgetting,
    prepared,
    shown_by_holdout,
    tasks_in_a_row,
)
from harness.runner.holdout import Opened, open_holdout
from harness.runner.noise import noise_floor
from harness.runner.preflight import check_adapters, model_checks
from harness.runner.scoring import applies, scored, tried_judge
from harness.runner.training import train_steps
from harness.stats.compare import standing
from harness.stats.seeds import copied_repeats
from harness.types.jobs import System
from harness.types.protocols import AnyMetric, JudgedMetric, PairMetric
from harness.types.samples import Check, Split

Until = Literal["baseline", "tuning"]


@dataclass(frozen=True)
class Gathered:
    """The evidence so far. dev: every system measured, baselines first. holdout: the chosen pair, if it came to that.

    Args:
        left_out: Ids of holdout samples that the verdict leaves out, and leaked: of those a leakage check names.
        parts: The chosen recipe tuned on parts of the data.
        four: Base and tuned, each without and with retrieval.
        forgot: Guards asked of each of several recipes.
        steps: What earlier steps of a recipe left.
        in_a_row: Recipes that learn several tasks, asked each task after each step; all on DEV.
        endings: How the answers of each system to the task ended, split by split.
        stopped: The decision of `stop_if`, with which nothing was tuned.
    """

    checks: tuple[Check, ...]
    left_out: frozenset[str] = frozenset()
    leaked: frozenset[str] = frozenset()
    dev: tuple[BySeed, ...] = ()
    baseline: System | None = None
    tuned: System | None = None
    power: EnoughEvidence | None = None
    noise: tuple[NoiseFloor, ...] = ()
    parts: tuple[BySeed, ...] = ()
    steps: tuple[BySeed, ...] = ()
    in_a_row: tuple[TasksInARow, ...] = ()
    four: tuple[BySeed, BySeed, BySeed, BySeed] | None = None
    forgot: tuple[GuardedSystem, ...] = ()
    endings: tuple[Endings, ...] = ()
    holdout: Opened | None = None
    guards: tuple[GuardedSystem, ...] = ()
    stopped: Decision | None = None

    @property
    def trusted(self) -> bool:
        return all(check.status != "invalid" for check in self.checks)

    def of(self, system: System | None) -> BySeed:
        """Return what a measured system answered on DEV."""
        return next(by_seed for by_seed in self.dev if by_seed[0].system == system)


def gather(run: Run, *, until: Until | None = None) -> Gathered:
    """Bring every stage that the verdict needs to its end; a finished stage costs a look into the store."""
    seen = _checked(run)
    if not seen.trusted:
        return seen
    seen = replace(seen, checks=(*seen.checks, *model_checks(run, baselines_only=until == "baseline")))
    if until != "baseline":
        check_adapters(run)
    seen = _measure_baselines(run, seen)
    if not seen.trusted or seen.stopped is not None or until == "baseline":
        return seen
    seen = _tune(run, seen)
    if not seen.trusted or until == "tuning":
        return seen
    return _open_holdout(run, _explore(run, seen))


def choosing_metric(run: Run) -> AnyMetric:
    """Return the metric that systems are chosen by: that of the first criterion which scores one system alone."""
    return choosing_metric_of(run.plan.experiment)


def choosing_metric_of(experiment: Experiment) -> AnyMetric:
    """Return what `choosing_metric` does, of a declaration."""
    by_name = {metric.name: metric for metric in experiment.metrics}
    wanted = [by_name[name] for criterion in experiment.go_if for name in criterion.metrics]
    alone = [metric for metric in (*wanted, *by_name.values()) if not isinstance(metric, PairMetric | JudgedMetric)]
    return (alone or wanted or list(by_name.values()))[0]


def _checked(run: Run) -> Gathered:
    """Return the checks of the data; leaked holdout samples are refused, or left out where the experiment says so."""
    checks = (*data_checks(run), *([run.plan.dropped] if run.plan.dropped else []), *reference_checks(run))
    leaked = leaked_holdout_ids(checks)
    invalid = leaked_holdout_ids([check for check in checks if check.status == "invalid"])
    whole = len(run.plan.experiment.task.samples(Split.HOLDOUT))
    if run.plan.experiment.leaks != "exclude" or not 0 < len(invalid) < whole:
        said = tuple(_with_way_out(run, check, len(invalid), whole) for check in checks)
        return Gathered(said, leaked=leaked)
    said = tuple(_excused(check, len(invalid), whole) if check.status == "invalid" else check for check in checks)
    return Gathered(said, left_out=invalid, leaked=leaked)


def _with_way_out(run: Run, check: Check, count: int, whole: int) -> Check:
    """Return a leak that makes the verdict INVALID with what can be done about it."""
    if check.status != "invalid" or not leaked_holdout_ids([check]):
        return check
    exclude = (
        f'leaks="exclude" judges on the other {whole - count:,} of {whole:,} holdout samples'
        if count < whole
        else "every holdout sample is among them, so that none is left to judge on"
    )
    drop = (
        'leaks="drop_train" takes copies out of train, the few-shot examples and the passages made from them'
        if run.plan.experiment.leaks != "drop_train"
        else "train is without copies already; what is left is between holdout, dev and texts of other origin: take it "
        "out of one of them"
    )
    return replace(check, detail=f"{check.detail}; {exclude}; {drop}")


def _excused(check: Check, count: int, whole: int) -> Check:
    if not leaked_holdout_ids([check]):
        return check
    left = f"left out of the verdict, with {count:,} of {whole:,} holdout samples in all"
    return replace(check, status="warning", detail=f"{check.detail}; {left}", excused=True)


def _measure_baselines(run: Run, seen: Gathered) -> Gathered:
    task, metric = run.plan.experiment.task, choosing_metric(run)
    baselines = tuple(answered_by_seed(run, system, task, Split.DEV) for system in run.plan.baselines)
    best = best_of(run, metric, baselines)
    seen = _answering(run, seen, baselines, best)
    if not seen.trusted:
        return seen
    tried = _rehearse(run, best)
    if any(check.status == "invalid" for check in tried):
        return replace(seen, checks=(*seen.checks, *tried))
    ready = prepared(run, metric, baselines, best, seen.checks)
    power = shown_by_holdout(run, metric, best, left_out=seen.left_out)
    return replace(
        seen,
        checks=(*seen.checks, *tried, *ready, *_repeats(best)),
        power=power,
        noise=noise_floor(run, best[0].system, best[0]),
        stopped=_stopped(run, best),
    )


def _answering(run: Run, seen: Gathered, baselines: tuple[BySeed, ...], best: BySeed) -> Gathered:
    """Return what the baselines answered, and whether the best did often enough to be compared with."""
    ended = {by_seed[0].system: endings_of(run, by_seed, Split.DEV) for by_seed in baselines}
    mine = best[0].system
    others = [one for system, found in ended.items() if system != mine for one in found]
    checks = (*baseline_checks(run, ended[mine], others), *_lookups(baselines))
    told = tuple(one for found in ended.values() for one in found)
    return replace(seen, checks=(*seen.checks, *checks), dev=baselines, baseline=mine, endings=told)


def _repeats(best: BySeed) -> tuple[Check, ...]:
    """Return what is wrong with answers drawn several times: copies have a spread of 0 that is not real."""
    copied = copied_repeats([[answer.text for answer in one.answers] for one in best])
    if len(best) < 2:
        return ()
    name = best[0].system.name
    if not copied:
        return (Check(name="repeats", status="ok", detail=f"{name}: {len(best)} answers a sample, drawn apart"),)
    detail = (
        f"{name}: {len(copied)} of {len(best)} repeats equal an earlier one on every sample: they come from a cache, "
        "or the engine does not sample; they are no evidence of how answers vary"
    )
    return (Check(name="repeats", status="warning", detail=detail),)


def _lookups(systems: Sequence[BySeed]) -> tuple[Check, ...]:
    found = (lookups(one[0].system.name, one[0].answers) for one in systems)
    return tuple(check for check in found if check is not None)


def _rehearse(run: Run, best: BySeed) -> tuple[Check, ...]:
    """Score with every metric once: one that is broken must not cost a training run, or the holdout's first look.

    Returns whether the judges of pairs are understood.
    """
    metrics = run.plan.experiment.metrics
    for metric in metrics:
        if applies(metric, best[0]):
            scored(run, metric, best)
    return tuple(tried_judge(run, one, best[0]) for one in metrics if isinstance(one, JudgedMetric) and one.judge)


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
    for system in run.plan.tuned:
        for seed in run.plan.experiment.seeds:
            for found in train_steps(run, system, seed):
                checks += found
                if any(check.status == "invalid" for check in found):
                    break  # nothing is learned on top of what cannot be trusted
    seen = replace(seen, checks=tuple(checks))
    if not seen.trusted:
        return seen
    tuned = tuple(answered_by_seed(run, system, run.plan.experiment.task, Split.DEV) for system in run.plan.tuned)
    best = best_of(run, choosing_metric(run), tuned)
    parity = tuple(evaluation_parity(run, one.system, one) for one in best)
    ended = tuple(one for by_seed in tuned for one in endings_of(run, by_seed, Split.DEV))
    mine = tuned_checks([one for one in ended if one.system == best[0].system.name])
    collapsed = collapse(best[0].system.name, best[0].samples, best[0].answers)
    found = (*parity, *mine, *((collapsed,) if collapsed is not None else ()), *_lookups(tuned))
    return replace(
        seen,
        checks=(*seen.checks, *found),
        dev=(*seen.dev, *tuned),
        tuned=best[0].system,
        endings=(*seen.endings, *ended),
    )


def _explore(run: Run, seen: Gathered) -> Gathered:
    """Ask on DEV what no verdict needs and its readers do."""
    assert seen.tuned is not None
    four = four_ways(run, choosing_metric(run), seen.dev)
    return replace(
        seen,
        four=four,
        parts=learning_points(run, seen.tuned),
        steps=between_steps(run),
        in_a_row=tasks_in_a_row(run),
        forgot=measure_forgetting(run),
    )


def _open_holdout(run: Run, seen: Gathered) -> Gathered:
    assert seen.baseline is not None
    assert seen.tuned is not None
    opened = open_holdout(run, seen.baseline, seen.tuned, left_out=seen.left_out)
    guards = tuple(_guard(run, guard, seen.tuned) for guard in run.plan.experiment.guards)
    before, after = (
        endings_of(run, side, Split.HOLDOUT, left_out=seen.left_out) for side in (opened.baseline, opened.tuned)
    )
    return replace(
        seen,
        checks=(*seen.checks, *baseline_checks(run, before), *tuned_checks(after)),
        endings=(*seen.endings, *before, *after),
        holdout=opened,
        guards=guards,
    )


def _guard(run: Run, guard: Guard, tuned: System) -> GuardedSystem:
    return GuardedSystem(
        guard=guard,
        untuned=answered_by_seed(run, run.plan.untuned, guard.task, Split.HOLDOUT),
        tuned=answered_by_seed(run, run.plan.guarded(tuned), guard.task, Split.HOLDOUT),
    )
