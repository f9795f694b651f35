"""`Experiment`: one question, what is compared, and the rule that turns evidence into a verdict."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from harness.errors import InvalidExperiment
from harness.experiment.criteria import BreakEven, Criterion, Guard
from harness.prompting.variants import variants
from harness.recipes.continual import check_recipe, other_tasks
from harness.recipes.steps import as_steps
from harness.types.models import AnyModel, Costs, Endpoint, as_model
from harness.types.protocols import (
    AnyMetric,
    AsksItself,
    BatchMetric,
    CorpusMetric,
    Executed,
    JudgedMetric,
    Metric,
    Named,
    Priced,
    Recipe,
    Strategy,
    Task,
    needs_likelihood,
)
from harness.types.samples import Sample, Sampling, Split

_TASK_MEMBERS = ("name", "samples", "prompt", "read")


@dataclass(frozen=True)
class Experiment:
    """The whole declaration: what is asked, what is compared, and what would convince you. It runs nothing.

    Baselines and recipes are chosen on DEV; the verdict is made on HOLDOUT.

    Args:
        question: What the verdict will answer, in one sentence.
        task: What is asked: a `DatasetTask`, an `LmEvalTask`, or any object with the members of `Task`.
        model: The local model that is prompted and trained; a string means `Model(string)`. An `Endpoint` cannot be
            trained: give it to a baseline as `model=`.
        baselines: Strategies of prompting, at least one. One that holds several values, such as
            `FewShot(shots=(2, 8))`, is as many baselines.
        recipes: What is trained, at least one.
        metrics: At least one, and each that a criterion names.
        go_if: Criteria on HOLDOUT, at least one; GO needs all of them.
        stop_if: Criteria on DEV, `AtLeast` or `AtMost`: if the best baseline meets them all, nothing is trained. An
            empty list never stops.
        guards: What else must hold for GO: other tasks that the tuned system must not forget.
        seeds: One training run each; their mean is judged. Whole numbers of 0 or more.
        curve: Rising fractions of the training data, above 0 to 1, on which the best recipe is trained as well, for a
            learning curve on DEV. An empty list draws none.
        costs: What an hour of this machine costs, for `BreakEven` and `Cost`; None is unknown.
        budget: Training examples that each recipe sees, repeats counted. It sets their epochs, and the steps of a
            recipe get equal shares. None leaves the recipes' own epochs.
        sampling: How answers are drawn, several for each sample; None is greedy.
        stop_early: Ask the holdout in random order until a confidence sequence decides.
        leaks: "refuse" makes leaked holdout samples INVALID; "exclude" judges on the others and shows both;
            "drop_train" takes copies of holdout and dev samples out of TRAIN, the few-shot examples and the passages
            made from them.

    Raises:
        InvalidExperiment: If the declaration cannot be judged; the message names the field and the remedy.

    Examples:
        >>> experiment = Experiment(
        ...     question="Should we fine-tune for tickets, or keep prompting?",
        ...     task=DatasetTask("tickets", "tickets.jsonl"),
        ...     model="smollm2-135m-instruct",
        ...     baselines=[ZeroShot(), FewShot(shots=(2, 8))],
        ...     recipes=[SFT(adapter=LoRA(rank=16))],
        ...     metrics=[ExactMatch()],
        ...     go_if=[Gain(ExactMatch(), at_least=0.05)],
        ... )
        >>> [baseline.name for baseline in experiment.baselines]
        ['zero-shot', '2-shot', '8-shot']
    """

    question: str
    task: Task
    model: str | AnyModel
    baselines: Sequence[Strategy]
    recipes: Sequence[Recipe]
    metrics: Sequence[AnyMetric]
    go_if: Sequence[Criterion]
    stop_if: Sequence[Criterion] = ()
    guards: Sequence[Guard] = ()
    seeds: Sequence[int] = (0,)
    curve: Sequence[float] = ()
    costs: Costs | None = None
    budget: int | None = None
    sampling: Sampling | None = None
    stop_early: bool = False
    leaks: Literal["refuse", "exclude", "drop_train"] = "refuse"

    def __post_init__(self) -> None:
        for field in ("baselines", "recipes", "metrics", "go_if", "stop_if", "guards", "seeds", "curve"):
            object.__setattr__(self, field, _as_tuple(field, getattr(self, field)))
        object.__setattr__(self, "baselines", tuple(one for item in self.baselines for one in variants(item)))
        object.__setattr__(self, "model", as_model(self.model))
        if not self.question.strip():
            raise InvalidExperiment("question is empty; say in one sentence what the verdict will answer")
        _check_task("task", self.task)
        _check_names("baselines", self.baselines, "add ZeroShot(): without a baseline nobody can see a regression")
        _check_names("recipes", self.recipes, "add SFT(adapter=LoRA()): without a recipe there is nothing to compare")
        _check_names("metrics", self.metrics, "add ExactMatch() or another metric: without one nothing can be judged")
        _check_systems_differ(self.baselines, self.recipes)
        _check_criteria(self)
        _check_seeds(self.seeds)
        for recipe in self.recipes:
            check_recipe(recipe, self.task, [guard.task for guard in self.guards])
            if recipe.prompt is not None and len(variants(recipe.prompt)) > 1:
                raise InvalidExperiment(f"{recipe.name}: prompt holds several to choose from; train on one of them")
        _check_curve(self.curve)
        _check_options(self)
        if isinstance(self.model, Endpoint):
            raise InvalidExperiment(
                "model is an Endpoint, which cannot be tuned here; give a local model and set the endpoint as model= "
                "of a baseline"
            )


def check_data(experiment: Experiment) -> None:
    """Load the samples and refuse an experiment that cannot be judged on them; a guard's too, before time is spent.

    Raises:
        InvalidExperiment: If a split is empty, or an id stands twice, in one split or in two.
    """
    for guard in experiment.guards:
        if not guard.task.samples(Split.HOLDOUT):
            raise InvalidExperiment(
                f"the guard's task {guard.task.name!r} has no holdout samples; it is judged on those"
            )
    for recipe in experiment.recipes:
        _check_step_tasks(recipe)
    seen: dict[str, Split] = {}
    for split in Split:
        samples = experiment.task.samples(split)
        if not samples:
            raise InvalidExperiment(
                f"task {experiment.task.name!r} has no {split.value} samples; a verdict needs train, dev and holdout: "
                "give the missing file, or fractions that leave rows for it"
            )
        _check_ids(experiment.task.name, split, samples, seen)
        if split is Split.TRAIN and experiment.leaks == "drop_train":
            seen.clear()  # what stands in another split too is no train sample


def _check_step_tasks(recipe: Recipe) -> None:
    for step in as_steps(recipe).steps:
        for task in other_tasks(step):
            for split in (Split.TRAIN, Split.DEV):
                if not task.samples(split):
                    raise InvalidExperiment(
                        f"{step.name}: task {task.name!r} has no {split.value} samples; a step learns its train "
                        "samples and is measured on its dev samples"
                    )


def _check_ids(task: str, split: Split, samples: Sequence[Sample], seen: dict[str, Split]) -> None:
    for sample in samples:
        if seen.get(sample.id) is split:
            raise InvalidExperiment(
                f"task {task!r}: sample id {sample.id!r} stands twice in {split.value}; "
                "give every sample an id of its own"
            )
        if sample.id in seen:
            raise InvalidExperiment(
                f"task {task!r}: splits overlap: sample id {sample.id!r} is in {seen[sample.id].value} and in "
                f"{split.value}; give each sample to one split, or set the group column so that whole groups move"
            )
        seen[sample.id] = split


def _as_tuple(field: str, value: object) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidExperiment(f"{field} is {value!r}; give a list, such as {field}=[...]")
    items = tuple(value)
    for item in items:
        if isinstance(item, type):
            raise InvalidExperiment(f"{field} holds the class {item.__name__}; write {item.__name__}() to make one")
    return items


def _check_task(field: str, task: object) -> None:
    if isinstance(task, type):
        raise InvalidExperiment(f"{field} is the class {task.__name__}; write {task.__name__}() to make one")
    missing = [member for member in _TASK_MEMBERS if not hasattr(task, member)]
    if missing:
        raise InvalidExperiment(
            f"{field} is a {type(task).__name__} without {', '.join(missing)}; a task has name, samples(split), "
            "prompt(sample) and read(text)"
        )


def _check_names(field: str, items: Sequence[Strategy] | Sequence[Recipe] | Sequence[Named], remedy: str) -> None:
    if not items:
        raise InvalidExperiment(f"{field} is empty; {remedy}")
    for item in items:
        if not isinstance(getattr(item, "name", None), str):
            raise InvalidExperiment(f"{field} holds {item!r}, which has no name; {remedy}")
    twice = [name for name, count in Counter(item.name for item in items).items() if count > 1]
    if twice:
        raise InvalidExperiment(f"{field} holds {twice[0]!r} more than once; give one of them another name")


def _check_systems_differ(baselines: Sequence[Strategy], recipes: Sequence[Recipe]) -> None:
    shared = {baseline.name for baseline in baselines} & {recipe.name for recipe in recipes}
    if shared:
        raise InvalidExperiment(f"baselines and recipes both hold {min(shared)!r}; give the recipe a name=")


def _check_criteria(experiment: Experiment) -> None:
    if not experiment.go_if:
        raise InvalidExperiment(
            "go_if is empty; say what would convince you, such as Gain(ExactMatch(), at_least=0.05)"
        )
    known = {metric.name for metric in experiment.metrics}
    for field in ("go_if", "stop_if"):
        for criterion in getattr(experiment, field):
            if not isinstance(criterion, Criterion):
                raise InvalidExperiment(f"{field} holds {criterion!r}, which cannot judge; use Gain, NoWorse, AtLeast")
            for name in criterion.metrics:
                if name not in known:
                    raise InvalidExperiment(
                        f"{field} uses the metric {name!r}, which is not in metrics ({', '.join(sorted(known))}); "
                        "add it to metrics"
                    )
    for guard in experiment.guards:
        _check_task("guards", guard.task)


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds:
        raise InvalidExperiment("seeds is empty; give at least one, such as seeds=(0,)")
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise InvalidExperiment(f"seeds holds {seed!r}; a seed is a whole number from 0 up")
    if len(set(seeds)) != len(seeds):
        raise InvalidExperiment(f"seeds {tuple(seeds)} repeat a number; a repeated seed is no new evidence")


def _check_curve(curve: Sequence[float]) -> None:
    for fraction in curve:
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            raise InvalidExperiment(f"curve holds {fraction!r}; a fraction of the training data is above 0, at most 1")
    if any(later <= earlier for earlier, later in pairwise(curve)):
        raise InvalidExperiment(f"curve {tuple(curve)} does not rise; give fractions such as curve=(0.25, 0.5, 1.0)")


def _check_options(experiment: Experiment) -> None:
    if experiment.leaks not in ("refuse", "exclude", "drop_train"):
        raise InvalidExperiment(f'leaks is {experiment.leaks!r}; it is "refuse", "exclude" or "drop_train"')
    for metric in (*experiment.metrics, *(guard.metric for guard in experiment.guards)):
        if isinstance(metric, Priced):
            _check_prices(experiment, metric)
    budget = experiment.budget
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
        raise InvalidExperiment(f"budget is {budget!r}; give the number of training examples that each recipe sees")
    if experiment.stop_early:
        _check_stop_early(experiment)
    if experiment.sampling is not None and experiment.sampling.repeats > 1:
        for metric in experiment.metrics:
            if isinstance(metric, CorpusMetric) and not needs_likelihood(metric):
                raise InvalidExperiment(
                    f"{metric.name} is a metric of the whole set, and a sample's {experiment.sampling.repeats} answers "
                    "have no mean in it; use a metric of single answers, such as Accuracy, or repeats=1"
                )


def _check_prices(experiment: Experiment, metric: Priced) -> None:
    models = [getattr(strategy, "model", None) or experiment.model for strategy in experiment.baselines]
    for model in (as_model(experiment.model), *models):
        if missing := metric.missing_price(as_model(model), experiment.costs):
            raise InvalidExperiment(f"{type(metric).__name__}: {missing}; without it nobody knows what a request costs")


def _check_stop_early(experiment: Experiment) -> None:
    """A confidence sequence is of a mean of scores that come one by one."""
    by_name = {metric.name: metric for metric in experiment.metrics}
    for criterion in experiment.go_if:
        if isinstance(criterion, BreakEven) or not criterion.metrics:
            raise InvalidExperiment(f"stop_early cannot watch {criterion!r}; leave out one of them")
        for name in criterion.metrics:
            metric = by_name.get(name)
            if isinstance(metric, CorpusMetric | JudgedMetric | Executed) or not isinstance(
                metric, Metric | BatchMetric
            ):
                raise InvalidExperiment(
                    f"stop_early needs metrics that score single answers at once, and go_if uses {name}; "
                    "judge by ExactMatch, Accuracy or the like, or leave stop_early out"
                )
    if isinstance(experiment.task, AsksItself):
        raise InvalidExperiment(f"{experiment.task.name} asks its own questions, all at once; leave stop_early out")
