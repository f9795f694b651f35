"""What is asked on DEV beyond the choice: how much data helps, and whether tuning and retrieval add up.

Every task after every step of a recipe that learns several: asked on DEV, scored, told.

What the training logs of an experiment say of the fit of each recipe.

What is asked before anyone tunes: is the goal measurable, was prompting tried, does the holdout show enough.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.analysis.continual import Continual, TaskScores, continual
from harness.analysis.fit_diagnosis import Fitting, Series, fitting
from harness.analysis.holdout_power import EnoughEvidence, enough_evidence, grouping
from harness.analysis.readiness import MeasuredGoal, Preparation, Tried, readiness
from harness.experiment.criteria import Criterion, Gain, Guard
from harness.experiment.decide import better_of
from harness.prompting import RAG, ZeroShot
from harness.recipes.steps import as_steps, makes_policy
from harness.runner.answers import BySeed, answered_by_seed
from harness.runner.context import Run
from harness.runner.scoring import Scored, scored
from harness.runner.training import ensure_tuned
from harness.stats.compare import Comparison, SystemScores, standing
from harness.store.rows import ContinualRow, TrainingLogRow
from harness.types.jobs import Stage, System, Trial
from harness.types.protocols import AnyMetric, CorpusMetric, HasCorpus, JudgedMetric, Named, PairMetric, Strategy
from harness.types.samples import Check, Split


def best_of(run: Run, metric: AnyMetric, systems: tuple[BySeed, ...]) -> BySeed:
    """Return the system that is best on DEV; ties go to the first declared."""
    standings = [
        standing(metric, split=Split.DEV.value, system=scored(run, metric, by_seed).for_comparison())
        for by_seed in systems
    ]
    name = better_of(metric, standings)
    return next(by_seed for by_seed in systems if by_seed[0].system.name == name)


def learning_points(run: Run, tuned: System) -> tuple[BySeed, ...]:
    """Return DEV answers of the chosen recipe, trained on each declared part of the data."""
    parts = run.plan.parts(tuned)
    for part in parts:
        for seed in run.plan.trained_with(part):
            ensure_tuned(run, part, seed)
    return tuple(answered_by_seed(run, part, run.plan.experiment.task, Split.DEV) for part in parts)


def between_steps(run: Run) -> tuple[BySeed, ...]:
    """Return DEV answers of what earlier steps left, where a recipe asks for them; none of it is ever chosen."""
    return tuple(
        answered_by_seed(run, system, run.plan.experiment.task, Split.DEV) for system in run.plan.between_steps
    )


@dataclass(frozen=True)
class GuardedSystem:
    """What the untuned and the tuned model answered to a guard's task."""

    guard: Guard
    untuned: BySeed
    tuned: BySeed


def measure_forgetting(run: Run) -> tuple[GuardedSystem, ...]:
    """Return what each of several recipes answered to the DEV samples of the guards that have some."""
    plan = run.plan
    guards = [guard for guard in plan.experiment.guards if guard.task.samples(Split.DEV)]
    if len(plan.tuned) < 2:
        return ()
    return tuple(
        GuardedSystem(
            guard=guard,
            untuned=answered_by_seed(run, plan.untuned, guard.task, Split.DEV),
            tuned=answered_by_seed(run, plan.guarded(system), guard.task, Split.DEV),
        )
        for guard in guards
        for system in plan.tuned
    )


def four_ways(run: Run, metric: AnyMetric, dev: tuple[BySeed, ...]) -> tuple[BySeed, BySeed, BySeed, BySeed] | None:
    """Return DEV answers of base, base with passages, tuned, tuned with passages; None if no passages are retrieved.

    What was not declared is asked: a tuned model answers with the passages too, or without, as it was not trained to.
    """
    own = {by_seed[0].system.name: by_seed for by_seed in dev if by_seed[0].system.model is run.plan.model}
    tuned = tuple(one for one in own.values() if one[0].system.recipe is not None)
    retrieving = tuple(one for one in own.values() if one[0].system.recipe is None and retrieves(one[0].system))
    if not retrieving or not tuned:
        return None
    best = (best_of(run, metric, systems)[0].system for systems in (retrieving, tuned))
    base, base_rag, alone, both = (
        own.get(system.name) or answered_by_seed(run, system, run.plan.experiment.task, Split.DEV)
        for system in four_systems([one[0].system for one in own.values()], *best)
    )
    return base, base_rag, alone, both


def four_systems(own: Sequence[System], base_rag: System, tuned: System) -> tuple[System, System, System, System]:
    """Return base, base with passages, tuned, tuned with passages: each pair under one prompt, so that what differs is
    the passages alone. The tuned model may have a prompt of its own.

    Args:
        own: The systems that are measured anyway; what is not among them is to be asked. base_rag is asked with
            passages.
    """
    passages, asked = base_rag.asked, tuned.asked
    assert isinstance(passages, RAG)
    base = _asked(own, base_rag, _without_passages(passages))
    if isinstance(asked, RAG):
        return base, base_rag, _asked(own, tuned, _without_passages(asked)), tuned
    if isinstance(asked, ZeroShot):
        return base, base_rag, tuned, _asked(own, tuned, _with_passages(passages, asked))
    # A prompt that is no plain question, such as one with shots, has no place for passages: theirs is used for both.
    return base, base_rag, _asked(own, tuned, _without_passages(passages)), _asked(own, tuned, passages)


def retrieves(system: System) -> bool:
    """Tell whether a system is asked with retrieved passages."""
    return isinstance(system.asked, RAG)


def _without_passages(strategy: RAG) -> ZeroShot:
    return ZeroShot(instruction=strategy.instruction)


def _with_passages(passages: RAG, asked: ZeroShot) -> RAG:
    """Return `passages` under the instruction of another prompt."""
    return passages if passages.instruction == asked.instruction else replace(passages, instruction=asked.instruction)


def _asked(own: Sequence[System], system: System, strategy: Strategy) -> System:
    """Return the system as it is asked by `strategy`: the one among `own` that is, else one more."""
    for other in own:
        if other.recipe == system.recipe and _same_prompt(other.asked, strategy):
            return other
    how = "with passages" if isinstance(strategy, RAG) else "without passages"
    return replace(system, name=f"{system.name}, asked {how}", served=strategy)


def _same_prompt(one: Strategy, other: Strategy) -> bool:
    """Labels and models name a system; neither is part of its prompt."""
    plain = [replace(s, label=None, model=None) for s in (one, other) if isinstance(s, RAG | ZeroShot)]
    return len(plain) == 2 and plain[0] == plain[1]


@dataclass(frozen=True)
class Rehearsed:
    """The answers to one trial, one entry a system of it."""

    trial: Trial
    answered: tuple[BySeed, ...]


@dataclass(frozen=True)
class TasksInARow:
    """What a recipe that learns several tasks answered to each of them after each step."""

    system: System
    tried: tuple[Rehearsed, ...]


def tasks_in_a_row(run: Run) -> tuple[TasksInARow, ...]:
    """Ask what is missing; nothing of it chooses a system."""
    found = []
    for system in run.plan.tuned:
        tried = tuple(
            Rehearsed(trial, tuple(answered_by_seed(run, one, trial.task, Split.DEV) for one in trial.systems))
            for trial in run.plan.trials(system)
        )
        if tried:
            found.append(TasksInARow(system, tried))
    return tuple(found)


def matrix(run: Run, row: TasksInARow, primary: Named) -> Continual | None:
    """Return what the steps did to each task by the metric `primary`, a guard's by its own; None for pairs."""
    if isinstance(primary, PairMetric | JudgedMetric):
        return None
    columns = [
        TaskScores(
            task=tried.trial.task.name,
            metric=metric,
            learned=tried.trial.learned,
            after=tuple(scores.for_comparison() for scores in _scored(run, tried, metric)),
        )
        for tried, metric in _measured(run, row, primary)
    ]
    return continual(row.system.name, steps=_step_names(row), tasks=columns)


def continual_rows(run: Run, row: TasksInARow, primary: Named) -> Iterator[ContinualRow]:
    """Yield the matrix of each seed, a row a cell."""
    if isinstance(primary, PairMetric | JudgedMetric):
        return
    names = ("before training", *_step_names(row))
    for tried, metric in _measured(run, row, primary):
        for step, scores in enumerate(_scored(run, tried, metric)):
            for seed, one in _by_seed(run, scores):
                stands = standing(metric, split=Split.DEV.value, system=one)
                yield ContinualRow(
                    experiment=run.plan.name,
                    system=row.system.name,
                    seed=seed,
                    step=step,
                    step_name=names[step],
                    task=tried.trial.task.name,
                    metric=metric.name,
                    score=stands.tuned_mean,
                    low=stands.tuned_low if math.isfinite(stands.tuned_low) else None,
                    high=stands.tuned_high if math.isfinite(stands.tuned_high) else None,
                    samples=stands.samples,
                )


def _measured(run: Run, row: TasksInARow, primary: Named) -> Iterator[tuple[Rehearsed, Named]]:
    guards = {guard.task.name: guard.metric for guard in run.plan.experiment.guards}
    for tried in row.tried:
        yield tried, primary if tried.trial.learned else guards[tried.trial.task.name]


def _scored(run: Run, tried: Rehearsed, metric: Named) -> tuple[Scored, ...]:
    return tuple(scored(run, metric, by_seed) for by_seed in tried.answered)


def _by_seed(run: Run, scores: Scored) -> Iterator[tuple[int, SystemScores]]:
    """Yield the scores of each training seed; the model before any training has the same ones for all."""
    whole = scores.for_comparison()
    for place, seed in enumerate(run.plan.experiment.seeds):
        at = place if len(whole.scores) > 1 else 0
        yield seed, replace(whole, scores=whole.scores[at : at + 1], details=whole.details[at : at + 1])


def _step_names(row: TasksInARow) -> tuple[str, ...]:
    assert row.system.recipe is not None
    return tuple(step.name for step in as_steps(row.system.recipe).steps if makes_policy(step))


def fittings(run: Run) -> Iterator[Fitting]:
    """Yield one judgement a tuned stage, in the order of the plan; of one whose log is too short, none."""
    for system in run.plan.tuned:
        for seed in run.plan.experiment.seeds:
            steps = run.plan.steps(system, seed)
            for step in steps:
                log = run.store.training_log(step.stage.key)
                watched = getattr(step.recipe, "watch", None)
                label = system.name if len(steps) == 1 else f"{system.name}, step {step.number}"
                found = fitting(
                    stage=step.stage.key,
                    system=label,
                    seed=seed,
                    train=_series(log, "loss"),
                    dev=_dev(log, None if watched is None else watched.name),
                )
                if found is not None:
                    usual = getattr(step.recipe, "rates", None)
                    yield replace(
                        found,
                        recipe=system.name,
                        learning_rate=_found_rate(run, step.stage) or getattr(step.recipe, "rate", None),
                        suggested_rate=None if usual is None else math.sqrt(usual[0] * usual[1]),
                    )


def _found_rate(run: Run, stage: Stage) -> float | None:
    """Return the rate that the rate finder chose for this training; None if it was not asked."""
    row = run.store.stage(stage.key)
    return row.facts.suggested_rate if row is not None else None


def _dev(log: tuple[TrainingLogRow, ...], watched: str | None) -> Series:
    """Return the dev losses; overfitting shows in them first, also where a metric chose the checkpoint."""
    losses = _series(log, "dev_loss")
    return losses or ([] if watched is None else [(step, -value) for step, value in _series(log, f"dev_{watched}")])


def _series(log: tuple[TrainingLogRow, ...], name: str) -> Series:
    return sorted((row.step, row.value) for row in log if row.name == name and math.isfinite(row.value))


def asked_gain(run: Run, metric: AnyMetric) -> float:
    """Return the gain that go_if asks of a metric, in score units; 0 if it asks for any, or for none."""
    gains = [
        rule.at_least
        for rule in run.plan.experiment.go_if
        if isinstance(rule, Gain) and rule.metric.name == metric.name
    ]
    return max(gains, default=0.0)


def standing_of(run: Run, metric: AnyMetric, by_seed: BySeed) -> Comparison:
    """Return one system's mean on DEV."""
    return standing(metric, split=Split.DEV.value, system=scored(run, metric, by_seed).for_comparison())


def prepared(
    run: Run, metric: AnyMetric, baselines: Sequence[BySeed], best: BySeed, checks: Sequence[Check]
) -> tuple[Check, ...]:
    """Return the readiness list, with the primary metric's standings; what it warns of is said at once."""
    task = run.plan.experiment.task
    found = readiness(
        Preparation(
            goals=_goals(run, best),
            tried=[Tried(strategy=one[0].system.strategy, standing=standing_of(run, metric, one)) for one in baselines],
            train=run.samples(task, Split.TRAIN),
            dev=len(task.samples(Split.DEV)),
            corpus=len(task.corpus()) if isinstance(task, HasCorpus) else 0,
            checks=checks,
        )
    )
    for check in found:
        if check.status == "warning":
            run.progress.say(f"before tuning: {check.detail}")
    return found


def shown_by_holdout(run: Run, metric: AnyMetric, best: BySeed, *, left_out: frozenset[str]) -> EnoughEvidence | None:
    """Return what the holdout can show of the primary metric, by the best baseline's spread on DEV."""
    if isinstance(metric, CorpusMetric | PairMetric | JudgedMetric):
        return None
    holdout = [s for s in run.samples(run.plan.experiment.task, Split.HOLDOUT) if s.id not in left_out]
    dev = scored(run, metric, best).for_comparison()
    scores = dev.scores.mean(axis=0)
    groups = grouping([s.cluster for s in holdout], scores, dev.clusters)
    if all(s.group is None for s in holdout if s.cluster is not None):
        groups = replace(groups, alike=1.0)  # equal inputs are answered alike
    found = enough_evidence(len(holdout), asked_gain(run, metric), metric, scores=scores, groups=groups)
    if found is not None and not found.enough:
        run.progress.say(f"before tuning: {found.sentence}")
    return found


def _goals(run: Run, best: BySeed) -> list[MeasuredGoal]:
    known = {metric.name: metric for metric in run.plan.experiment.metrics}
    dev = len(best[0].samples)
    goals = []
    for rule in run.plan.experiment.go_if:
        for name in rule.metrics:
            metric = known[name]
            pair = isinstance(metric, PairMetric | JudgedMetric)
            unit = getattr(metric, "unit", "") if pair else standing_of(run, metric, best).unit
            goals.append(MeasuredGoal(metric=name, threshold=_threshold(rule), scored=dev, samples=dev, unit=unit))
    return goals


def _threshold(rule: Criterion) -> float | None:
    """Return the number of a criterion of the harness's own; None for a user's."""
    for name in ("at_least", "by_at_most", "value"):
        number = getattr(rule, name, None)
        if isinstance(number, int | float):
            return float(number)
    return None
