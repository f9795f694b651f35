"""Task after task: what each step did to every task, and what was forgotten on the way.

R[i, j] is the score on task j after step i, row 0 that of the model before any training.
Sources: Lopez-Paz, Ranzato, Gradient Episodic Memory (2017), for average accuracy, backward and forward transfer;
Chaudhry et al., Riemannian Walk (2018), for forgetting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.estimate import Estimate, percentile_estimate, resampled
from harness.errors import Incomparable
from harness.stats.compare import DEFAULT_LEVEL, SystemScores, standing
from harness.stats.wording import FRACTION, confidence
from harness.types.protocols import Direction, FloatArray, Named
from harness.types.samples import Split

_RESAMPLES = 4_000


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskScores:
    """One column of the matrix: DEV scores of one task before any training, then after each step.

    Args:
        learned: Numbers of the steps, from 1, that trained on it; none for a guard.
        metric: Scores this column.
    """

    task: str
    metric: Named
    learned: tuple[int, ...]
    after: tuple[SystemScores, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskColumn:
    """One task. cells: its score after each step, the first before any; learned: as in TaskScores."""

    task: str
    metric: str
    better: Direction
    unit: str
    samples: int
    learned: tuple[int, ...]
    cells: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Continual:
    """One recipe with tasks in a row. steps: names, the first for the model as it is. columns: tasks, then guards.

    Of the tasks alone, in score units, above 0 for better whichever way the metric counts: average (the mean score
    after the last step, as measured), backward and forward transfer, forgetting (above 0 for what was lost). None
    if no task came before the last one, or none after the first.
    """

    system: str
    metric: str
    better: Direction
    unit: str
    level: float
    seeds: int
    steps: tuple[str, ...]
    columns: tuple[TaskColumn, ...]
    average: Estimate
    backward: Estimate | None
    forgetting: Estimate | None
    forward: Estimate | None
    sentence: str


def average_accuracy(matrix: FloatArray) -> FloatArray:
    """Return the mean over tasks of the last row. matrix: R, shape (..., steps + 1, tasks), as below."""
    mean: FloatArray = matrix[..., -1, :].mean(axis=-1)
    return mean


def backward_transfer(matrix: FloatArray, learned: Sequence[Sequence[int]]) -> FloatArray:
    """Return the mean of R[last, j] - R[i, j] over the tasks j that were last learned in step i before the last one.

    Args:
        learned: Of each task, the steps that trained on it. Raises ValueError if no task came before the last
            step.
    """
    last = matrix.shape[-2] - 1
    moved = [matrix[..., last, j] - matrix[..., max(steps), j] for j, steps in enumerate(learned) if max(steps) < last]
    return _mean(moved)


def forgetting(matrix: FloatArray, learned: Sequence[Sequence[int]]) -> FloatArray:
    """Return the mean of max over 1 <= i < last of R[i, j], minus R[last, j], over the tasks of `backward_transfer`."""
    last = matrix.shape[-2] - 1
    lost = [
        matrix[..., 1:last, j].max(axis=-1) - matrix[..., last, j]
        for j, steps in enumerate(learned)
        if max(steps) < last
    ]
    return _mean(lost)


def forward_transfer(matrix: FloatArray, learned: Sequence[Sequence[int]]) -> FloatArray:
    """Return the mean of R[i - 1, j] - R[0, j] over the tasks j that were first learned in step i after the first."""
    gained = [matrix[..., min(steps) - 1, j] - matrix[..., 0, j] for j, steps in enumerate(learned) if min(steps) > 1]
    return _mean(gained)


def continual(
    system: str, *, steps: Sequence[str], tasks: Sequence[TaskScores], seed: int = 0, level: float = DEFAULT_LEVEL
) -> Continual:
    """Return the matrix of one recipe and what it comes to.

    Args:
        steps: Names of the steps that made a policy, in order. Intervals of the cells are their own; those of the
            averages are percentiles of resamples in which each task's samples are drawn apart, and the same for all
            steps.

    Raises:
        Incomparable: If a column has not one score a row, or the tasks were not scored by one metric.
    """
    columns = tuple(_column(task, level) for task in tasks)
    own = [(task, column) for task, column in zip(tasks, columns, strict=True) if task.learned]
    _check(system, steps, tasks, [column for _, column in own])
    first = own[0][1]
    sign = 1.0 if first.better == "higher" else -1.0
    learned = [task.learned for task, _ in own]
    drawn = [resampled(task.metric, task.after, resamples=_RESAMPLES, seed=seed + j) for j, (task, _) in enumerate(own)]
    observed = sign * np.stack([one.observed for one in drawn], axis=-1)  # (steps + 1, tasks)
    fewest = min(column.samples for _, column in own)
    replicates = sign * np.stack([one.replicates for one in drawn], axis=-1)  # (resamples, steps + 1, tasks)

    def estimate(of: Callable[[FloatArray], FloatArray]) -> Estimate:
        return _doubted(percentile_estimate(float(of(observed)), of(replicates), level), first.unit, fewest, level)

    after, came = any(min(one) > 1 for one in learned), any(max(one) < len(steps) for one in learned)
    average = estimate(average_accuracy)
    if first.unit == FRACTION:
        average = Estimate(average.value, max(average.low, 0.0), min(average.high, 1.0))
    if sign < 0:
        average = Estimate(-average.value, -average.high, -average.low)
    found = Continual(
        system=system,
        metric=first.metric,
        better=first.better,
        unit=first.unit,
        level=level,
        seeds=len(tasks[0].after[-1].scores),
        steps=("before training", *steps),
        columns=columns,
        average=average,
        backward=estimate(lambda matrix: backward_transfer(matrix, learned)) if came else None,
        forgetting=estimate(lambda matrix: forgetting(matrix, learned)) if came else None,
        forward=estimate(lambda matrix: forward_transfer(matrix, learned)) if after else None,
        sentence="",
    )
    return _said(found)


def _doubted(found: Estimate, unit: str, samples: int, level: float) -> Estimate:
    """Return the estimate, widened if no resample differs: what none of n samples showed may still happen.

    The bound is the exact one of 0 in n (Clopper, Pearson 1934), for the task of fewest samples.
    """
    if found.low < found.high or unit != FRACTION:
        return found
    unseen = 1 - ((1 - level) / 2) ** (1 / samples)
    return Estimate(found.value, found.low - unseen, found.high + unseen)


def _mean(parts: Sequence[FloatArray]) -> FloatArray:
    if not parts:
        raise ValueError("no task qualifies: transfer and forgetting are between tasks of different steps")
    mean: FloatArray = np.mean(parts, axis=0)
    return mean


def _column(task: TaskScores, level: float) -> TaskColumn:
    stands = [standing(task.metric, split=Split.DEV.value, system=scores, level=level) for scores in task.after]
    return TaskColumn(
        task=task.task,
        metric=task.metric.name,
        better=task.metric.better,
        # A column of noughts looks like a fraction whatever the metric counts: the unit is that of all its rows.
        unit=stands[0].unit if len({one.unit for one in stands}) == 1 else "",
        samples=stands[0].samples,
        learned=task.learned,
        cells=tuple(Estimate(one.tuned_mean, one.tuned_low, one.tuned_high) for one in stands),
    )


def _check(system: str, steps: Sequence[str], tasks: Sequence[TaskScores], own: Sequence[TaskColumn]) -> None:
    for task in tasks:
        if len(task.after) != len(steps) + 1:
            raise Incomparable(
                f"{system}: task {task.task} has {len(task.after)} rows of scores for {len(steps)} steps; "
                "score it before any training and after each step"
            )
    if not own:
        raise Incomparable(f"{system}: no task was learned in any step, so that nothing can have been forgotten")
    metrics = {column.metric for column in own}
    if len(metrics) > 1:
        raise Incomparable(
            f"{system}: the tasks were scored by {', '.join(sorted(metrics))}; their mean needs one metric"
        )


def _said(found: Continual) -> Continual:
    unit, tasks = found.unit, [column for column in found.columns if column.learned]
    names = ", then ".join(column.task for column in sorted(tasks, key=lambda column: column.learned))
    said = f"{found.system} learned {names}: {found.metric} after the last step is {found.average.as_mean(unit)}"
    said += " on average."
    if found.backward is not None and found.forgetting is not None:
        said += f" What came later changed the earlier tasks by {found.backward.as_difference(unit)}"
        said += f" (forgetting {found.forgetting.as_difference(unit)})."
    if found.forward is not None:
        said += f" A task gained {found.forward.as_difference(unit)} from those before it, before it was learned."
    return replace(found, sentence=f"{said} Intervals are at {confidence(found.level)}.")
