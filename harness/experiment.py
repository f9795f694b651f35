"""`Experiment`: one question, what is compared, and the rule that turns evidence into a verdict."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.criteria import Criterion, Guard
from harness.errors import InvalidExperiment
from harness.models import AnyModel, Endpoint, as_model
from harness.protocols import AnyMetric, Named, Recipe, Strategy, Task
from harness.samples import Sample, Split

_TASK_MEMBERS = ("name", "samples", "prompt", "read")


@dataclass(frozen=True)
class Experiment:
    """The whole declaration; it validates itself and runs nothing.

    baselines and recipes are chosen on DEV; go_if is judged on HOLDOUT; stop_if ends the run before tuning when the
    best baseline meets it on DEV. seeds: one training run each; their mean is judged.

    Raises InvalidExperiment naming the field and the remedy.
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

    def __post_init__(self) -> None:
        for field in ("baselines", "recipes", "metrics", "go_if", "stop_if", "guards", "seeds"):
            object.__setattr__(self, field, _as_tuple(field, getattr(self, field)))
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
        if isinstance(self.model, Endpoint):
            raise InvalidExperiment(
                "model is an Endpoint, which cannot be tuned here; give a local model and set the endpoint as model= "
                "of a baseline"
            )


def check_data(experiment: Experiment) -> None:
    """Load the samples and refuse an experiment that cannot be judged on them; a guard's too, before time is spent.

    Raises InvalidExperiment when a split is empty, or an id stands twice, in one split or in two.
    """
    for guard in experiment.guards:
        if not guard.task.samples(Split.HOLDOUT):
            raise InvalidExperiment(
                f"the guard's task {guard.task.name!r} has no holdout samples; it is judged on those"
            )
    seen: dict[str, Split] = {}
    for split in Split:
        samples = experiment.task.samples(split)
        if not samples:
            raise InvalidExperiment(
                f"task {experiment.task.name!r} has no {split.value} samples; a verdict needs train, dev and holdout: "
                "give the missing file, or fractions that leave rows for it"
            )
        _check_ids(experiment.task.name, split, samples, seen)


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
