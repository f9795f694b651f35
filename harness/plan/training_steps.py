"""A recipe -> the stages that train it, each with the key of what goes into it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.data.preferences import read_pairs, read_votes
from harness.fingerprint import fingerprint
from harness.plan.keys import Contents, model_key
from harness.recipes import JudgeGrade, Reinforced
from harness.recipes.steps import Steps, as_steps, makes_policy, needs_reward_model, task_of
from harness.types.jobs import Stage, System
from harness.types.protocols import (
    KeepsTasks,
    LearnsPairs,
    LearnsPreferences,
    LearnsTask,
    LearnsVotes,
    LimitsExamples,
    Recipe,
    Task,
)
from harness.types.samples import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneStep:
    """One step of a system's recipe with one seed; a recipe that is no `Steps` is one step.

    Args:
        recipe: Of this step alone.
        number: 1 for the first.
        task: Whose examples it learns.
        start: The stage whose policy it goes on from, None for the model as it is.
        reward: The stage of the reward model that it learns from.
        earlier: The other tasks that policies were trained on before it, in order.
    """

    stage: Stage
    recipe: Recipe
    number: int
    task: Task
    start: Stage | None = None
    reward: Stage | None = None
    earlier: tuple[Task, ...] = ()


def tune_steps(contents: Contents, task: Task, system: System, seed: int) -> tuple[TuneStep, ...]:
    """Return the steps of `system`'s recipe in order; none if it has no recipe. task: the experiment's."""
    if system.recipe is None:
        return ()
    whole = as_steps(system.recipe)
    found: list[TuneStep] = []
    for number, recipe in enumerate(whole.steps, start=1):
        own = task_of(recipe, task)
        part = f"step {number} of {len(whole.steps)} ({recipe.name})" if len(whole.steps) > 1 else ""
        stage = Stage(key="", kind="tune", system=system.name, split=None, seed=seed, task=own.name, part=part)
        step = TuneStep(stage=stage, recipe=recipe, number=number, task=own)
        step = _after(step, found, isolated=whole.isolated)
        found.append(replace(step, stage=replace(stage, key=_key(contents, system, step))))
    return tuple(found)


def rows_of(recipe: Recipe, task: Task, share: float = 1.0) -> int:
    """Return how many examples a step learns: its share of the task's, at most its limit, and what it replays."""
    new = new_rows(recipe, task, share)
    return new + sum(replays(task, ratio, new) for task, ratio in replayed(recipe))


def new_rows(recipe: Recipe, task: Task, share: float = 1.0) -> int:
    """Return how many of the task's own examples a step learns."""
    rows = len(task.samples(Split.TRAIN))
    return max(1, round(share * min(rows, (recipe.limit if isinstance(recipe, LimitsExamples) else None) or rows)))


def replays(task: Task, ratio: float, new: int) -> int:
    """Return how many examples of `task` are shown again beside `new` ones, at most all."""
    return min(len(task.samples(Split.TRAIN)), round(ratio * new))


def replayed(recipe: Recipe) -> tuple[tuple[Task, float], ...]:
    """Return the tasks of which a step shows examples again, each with how many for one of its own."""
    return tuple(recipe.mix) if isinstance(recipe, LearnsTask) else ()


def budgeted(recipe: Recipe, task: Task, budget: int | None) -> Recipe:
    """Return the recipe with the epochs that an experiment's budget leaves it: its steps share the budget alike."""
    if budget is None:
        return recipe
    if isinstance(recipe, Steps):
        counted = [step for step in recipe.steps if hasattr(step, "epochs")]
        share = budget / max(1, len(counted))
        return replace(recipe, steps=[_with_epochs(step, task_of(step, task), share) for step in recipe.steps])
    return _with_epochs(recipe, task, budget)


def _with_epochs(recipe: Recipe, task: Task, examples: float) -> Recipe:
    if not hasattr(recipe, "epochs"):
        return recipe
    return replace(recipe, epochs=examples / rows_of(recipe, task))  # type: ignore[type-var]


def _after(step: TuneStep, before: Sequence[TuneStep], *, isolated: bool) -> TuneStep:
    """Return `step` with what it takes from those before it: a policy to start from, a reward model, earlier tasks."""
    policies = [] if isolated else [one for one in before if makes_policy(one.recipe)]
    rewards = [one for one in before if not makes_policy(one.recipe)]
    earlier = {one.task.name: one.task for one in policies if one.task.name != step.task.name}
    return replace(
        step,
        start=policies[-1].stage if policies else None,
        reward=rewards[-1].stage if rewards and needs_reward_model(step.recipe) else None,
        earlier=tuple(earlier.values()),
    )


def _key(contents: Contents, system: System, step: TuneStep) -> str:
    """Return what identifies the step's result. A first step has the key of its recipe standing alone."""
    examples = [
        [contents.of_prompts(system.strategy, step.task, split), contents.of_data(step.task, split)]
        for split in (Split.TRAIN, Split.DEV)
    ]
    weights = contents.of_trained(system.model)
    share = [] if system.share == 1 else [system.share]
    plain = ["tune", examples, step.recipe, weights, step.stage.seed, contents.training_stack, *share]
    return fingerprint([*plain, *_beyond(contents, system, step)])


def _read(recipe: Recipe) -> None:
    """Raise InvalidData for a row that cannot be learned from: it is to be told before anything is measured."""
    if isinstance(recipe, LearnsPairs) and recipe.pairs is not None:
        read_pairs(recipe.pairs)
    if isinstance(recipe, LearnsVotes) and recipe.votes is not None:
        read_votes(recipe.votes)


def _beyond(contents: Contents, system: System, step: TuneStep) -> list[object]:
    """Return what a step reads besides its task's examples; nothing of it was known to the first recipes' keys."""
    found: list[object] = []
    if step.start is not None:
        found.append(["start", step.start.key])
    if step.reward is not None:
        found.append(["reward", step.reward.key])
    if isinstance(step.recipe, LearnsPreferences):  # it learns from preferences: a file of them, or the task's own
        file = step.recipe.content_key()
        _read(step.recipe)
        own = [contents.of_rejected(step.task, split) for split in (Split.TRAIN, Split.DEV)] if file is None else []
        found.append(["preferences", file, own])
    for task, ratio in replayed(step.recipe):
        found.append(["replay", _train_key(contents, system, task), ratio])
    graders = [weighted.grader for weighted in step.recipe.graders] if isinstance(step.recipe, Reinforced) else []
    judges = [model_key(grader.judge) for grader in graders if isinstance(grader, JudgeGrade)]
    if judges:
        found.append(["judges", judges])
    if isinstance(step.recipe, KeepsTasks) and step.recipe.keep is not None:
        found.append(["earlier", [_train_key(contents, system, task) for task in step.earlier]])
    return found


def _train_key(contents: Contents, system: System, task: Task) -> list[str]:
    return [contents.of_prompts(system.strategy, task, Split.TRAIN), contents.of_data(task, Split.TRAIN)]
