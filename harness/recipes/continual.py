"""Learning task after task without forgetting: what a step declares, and what it must not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import InvalidExperiment
from harness.recipes.steps import Steps, as_steps, makes_policy, task_of, tasks_of
from harness.types.protocols import KeepsTasks, LearnsTask, Recipe, Task

Mix = tuple[tuple[Task, float], ...]


@dataclass(frozen=True, kw_only=True)
class EWC:
    """Elastic weight consolidation: a spring holds each trained weight at what the step found.

    The loss grows by strength / 2 times the sum over weights of Fisher x (weight - weight at the start) squared. The
    Fisher information of a weight is the mean square of the gradient of the model's own log-likelihood.

    Args:
        strength: The paper's lambda, 1 for as much as the earlier tasks' loss is expected to rise, to second order;
            with 0 nothing is held.
        samples: Examples of the earlier tasks on which the Fisher information is estimated at the start, drawn by the
            seed; 1 or more.

    Raises:
        InvalidExperiment: If a number is out of its range.

    Source: Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 114 (2017).

    Examples:
        >>> EWC(strength=10).name
        'ewc-10'
    """

    strength: float = 100.0
    samples: int = 64

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise InvalidExperiment(f"EWC(strength={self.strength}): give a number of 0 or more, such as 100")
        if self.samples < 1:
            raise InvalidExperiment(f"EWC(samples={self.samples}): give 1 or more examples to estimate the Fisher on")

    @property
    def name(self) -> str:
        return f"ewc-{self.strength:g}"


def as_mix(given: object) -> Mix:
    """Return which tasks are shown again and how many examples for one new one, from {task: ratio} or pairs of them.

    Raises:
        InvalidExperiment: If a task is none, or a ratio; the message names it.
    """
    pairs: Sequence[object] = (given,)
    if isinstance(given, Mapping):
        pairs = tuple(given.items())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        pairs = given
    found = []
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise InvalidExperiment(f"mix={given!r}: give the share of each earlier task, such as mix={{task: 0.2}}")
        task, ratio = pair
        _require_task("mix", task)
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not (0 < ratio < math.inf):
            raise InvalidExperiment(
                f"mix={{{task.name}: {ratio!r}}}: give how many of its examples stand beside one new one, such as 0.2"
            )
        found.append((task, float(ratio)))
    return tuple(found)


def check_recipe(recipe: Recipe, task: Task, guarded: Sequence[Task]) -> None:
    """Refuse a recipe that cannot be carried out in an experiment on `task` with guards on the tasks `guarded`.

    Raises:
        InvalidExperiment: If it cannot.
    """
    steps = as_steps(recipe).steps
    named = [one for step in steps for one in other_tasks(step)]
    known: dict[str, Task] = {task.name: task}
    for other in [*guarded, *named] if named else []:
        _require_task(recipe.name, other)
        if known.setdefault(other.name, other) != other:
            raise InvalidExperiment(
                f"{recipe.name}: two different tasks are called {other.name!r}; what each step did to them is told by "
                "their names, so give one of them another"
            )
    before: set[str] = set()
    for step in steps:
        own = task_of(step, task)
        if isinstance(step, KeepsTasks) and step.keep is not None and not before - {own.name}:
            raise InvalidExperiment(
                f"{step.name} keeps what earlier tasks taught, and no step before it trains on another task; put such "
                "a step before it in Steps, or leave keep= out"
            )
        if makes_policy(step):
            before.add(own.name)
    if isinstance(recipe, Steps) and recipe.isolated and task.name not in {one.name for one in tasks_of(recipe, task)}:
        raise InvalidExperiment(
            f"{recipe.name} is isolated and no step trains on {task.name!r}, the experiment's task; its questions "
            "would be answered by the untuned model: add a step without task="
        )


def other_tasks(recipe: Recipe) -> tuple[Task, ...]:
    """Return the tasks that a step names: the one it learns, if that is its own, and those it replays."""
    if not isinstance(recipe, LearnsTask):
        return ()
    own, mixed = recipe.task, tuple(task for task, _ in recipe.mix)
    return mixed if own is None else (own, *mixed)


def _require_task(where: str, task: object) -> None:
    if isinstance(task, type):
        raise InvalidExperiment(f"{where}: the task is the class {task.__name__}; write {task.__name__}() to make one")
    if not isinstance(task, Task):
        raise InvalidExperiment(
            f"{where}: {task!r} is no task; a task has name, samples(split), prompt(sample) and read(text)"
        )
