"""Several recipes in order, each going on from what the one before it left."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from harness.errors import InvalidExperiment
from harness.types.protocols import LearnsTask, Makes, NeedsRewardModel, Recipe, Strategy, Task


@dataclass(frozen=True)
class Steps:
    """Run `steps` in order: SFT, then DPO; SFT, a reward model, PPO; task after task.

    Each step goes on from the policy that the last step before it left, and has the reward model that the last step
    before it trained. What is served is the last step's policy. Each step is stored and kept by itself: recipes that
    begin alike share what they begin with.

    Args:
        steps: In their order; steps within steps are taken as if written out.
        evaluate_each: What every step leaves is measured on DEV too; it is shown and never chosen.
        isolated: Each step trains the model as it is, an adapter for each task; a question is answered by its own
            task's adapter, and one of no task of the steps by the model as it is.
        label: The system's name on pages and in tables, in place of the one made from the steps.

    Raises:
        InvalidExperiment: If a step cannot stand where it is; the message names it.

    Examples:
        >>> Steps([SFT(), DPO(pairs="pairs.jsonl")], label="sft, then dpo").name
        'sft, then dpo'
    """

    steps: Sequence[Recipe]
    evaluate_each: bool = field(default=False, kw_only=True, metadata={"key": False})
    isolated: bool = field(default=False, kw_only=True)
    label: str | None = field(default=None, kw_only=True, metadata={"key": False})

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _flat(self.steps))
        if not self.steps:
            raise InvalidExperiment("Steps([]): there is no step; give recipes in their order, such as [SFT(), DPO()]")
        for place, step in enumerate(self.steps):
            _check_step(self, place, step)
        last = self.steps[-1]
        if not makes_policy(last):
            raise InvalidExperiment(
                f"Steps: the last step, {last.name}, makes a reward model, which answers nothing; "
                "end with a step that uses it, such as PPO()"
            )
        _check_prompts(self.steps)
        if not self.isolated:
            _check_adapters([step for step in self.steps if makes_policy(step)])

    @property
    def name(self) -> str:
        return self.label or " then ".join(step.name for step in self.steps)

    @property
    def prompt(self) -> Strategy | None:
        """How the served model, that of the last step, is prompted."""
        return self.steps[-1].prompt

    @property
    def trainer(self) -> str:
        return self.steps[-1].trainer

    def first(self, count: int) -> "Steps":
        """Return the recipe that ends with step `count`, which makes a policy."""
        return replace(self, steps=self.steps[:count], evaluate_each=False)


def as_steps(recipe: Recipe) -> Steps:
    """Return any recipe as steps, one if it is none; raise InvalidExperiment if it cannot stand alone."""
    return recipe if isinstance(recipe, Steps) else Steps((recipe,), label=recipe.name)


def makes_policy(recipe: Recipe) -> bool:
    """Tell whether what `recipe` trains answers; else it is a reward model."""
    return not isinstance(recipe, Makes) or recipe.makes == "policy"


def needs_reward_model(recipe: Recipe) -> bool:
    """Tell whether `recipe` learns from the rewards of a model that an earlier step trains."""
    return isinstance(recipe, NeedsRewardModel) and recipe.needs_reward_model


def task_of(recipe: Recipe, task: Task) -> Task:
    """Return the task whose examples `recipe` learns: its own, else the experiment's `task`."""
    own = (recipe.task if isinstance(recipe, LearnsTask) else None) or task
    return task if own.name == task.name else own  # the experiment's may be a part of the declared one


def tasks_of(recipe: Recipe, task: Task) -> tuple[Task, ...]:
    """Return the tasks that the steps train a policy on, each once, in order. task: the experiment's."""
    found = {one.name: one for one in (task_of(step, task) for step in as_steps(recipe).steps if makes_policy(step))}
    return tuple(found.values())


def _flat(steps: object) -> tuple[Recipe, ...]:
    if isinstance(steps, str) or not isinstance(steps, Sequence):
        raise InvalidExperiment(f"Steps({steps!r}): give a list of recipes, such as Steps([SFT(), DPO()])")
    inner = [step for step in steps if isinstance(step, Steps) and step.isolated]
    if inner:
        raise InvalidExperiment(f"Steps within Steps: {inner[0].name} is isolated; say isolated=True of the outer ones")
    return tuple(one for step in steps for one in (step.steps if isinstance(step, Steps) else (step,)))


def _check_step(steps: Steps, place: int, step: Recipe) -> None:
    if isinstance(step, type):
        raise InvalidExperiment(f"Steps holds the class {step.__name__}; write {step.__name__}() to make one")
    if not isinstance(step, Recipe):
        raise InvalidExperiment(f"Steps holds {step!r}, which is no recipe; give SFT(), DPO() and the like")
    earlier = steps.steps[:place]
    if steps.isolated and not (makes_policy(step) and not needs_reward_model(step)):
        raise InvalidExperiment(
            f"Steps(isolated=True): {step.name} works on other steps' models, and isolated steps know nothing of one "
            "another; leave isolated out"
        )
    if needs_reward_model(step) and all(makes_policy(one) for one in earlier):
        raise InvalidExperiment(
            f"{step.name} needs rewards: let it follow a reward model, as in "
            "Steps([SFT(), RewardModel(), PPO()]), or give it graders"
        )


def _check_prompts(steps: Sequence[Recipe]) -> None:
    """A step that was taught another prompt than the next one's would be asked what it was not trained on."""
    for one, other in pairwise(steps):
        if one.prompt != other.prompt:
            said = [step.prompt.name if step.prompt else "the plain prompt" for step in (one, other)]
            raise InvalidExperiment(
                f"Steps: {one.name} trains with {said[0]}, {other.name} with {said[1]}; one model is served with one "
                "prompt: give every step the same prompt="
            )


def _check_adapters(policies: Sequence[Recipe]) -> None:
    """Two steps' updates are served as one model: one adapter trained on, or updates that can be merged."""
    for one, other in pairwise(policies):
        before, after = getattr(one, "adapter", None), getattr(other, "adapter", None)
        if before is None or after is None or before == after:
            continue
        stuck = next((adapter for adapter in (before, after) if not adapter.merges), None)
        if stuck is not None:
            raise InvalidExperiment(
                f"Steps: {one.name} trains {before.name}, {other.name} trains {after.name}, and {stuck.name} cannot "
                "become part of the model's weights; give both steps the same adapter"
            )
