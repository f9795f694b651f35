"""Every task after every step of a recipe that learns several: asked on DEV, scored, told."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.compare import standing
from harness.insights.continual import Continual, TaskScores, continual
from harness.protocols import JudgedMetric, Named, PairMetric
from harness.recipes.steps import as_steps, makes_policy
from harness.runner.answering import BySeed, answered_by_seed
from harness.runner.context import Run
from harness.runner.scoring import Scored, scored
from harness.samples import Split
from harness.store.rows import ContinualRow
from harness.system_scores import SystemScores
from harness.systems import System, Trial


@dataclass(frozen=True)
class Tried:
    """The answers to one trial, one entry a system of it."""

    trial: Trial
    answered: tuple[BySeed, ...]


@dataclass(frozen=True)
class TasksInARow:
    """What a recipe that learns several tasks answered to each of them after each step."""

    system: System
    tried: tuple[Tried, ...]


def tasks_in_a_row(run: Run) -> tuple[TasksInARow, ...]:
    """Ask what is missing; nothing of it chooses a system."""
    found = []
    for system in run.plan.tuned:
        tried = tuple(
            Tried(trial, tuple(answered_by_seed(run, one, trial.task, Split.DEV) for one in trial.systems))
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


def _measured(run: Run, row: TasksInARow, primary: Named) -> Iterator[tuple[Tried, Named]]:
    guards = {guard.task.name: guard.metric for guard in run.plan.experiment.guards}
    for tried in row.tried:
        yield tried, primary if tried.trial.learned else guards[tried.trial.task.name]


def _scored(run: Run, tried: Tried, metric: Named) -> tuple[Scored, ...]:
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
