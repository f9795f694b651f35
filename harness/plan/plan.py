"""The systems of one experiment, and every stage that may run for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from harness.data.leakage.drop_train import without_copies
from harness.experiment.experiment import Experiment
from harness.fingerprint import fingerprint
from harness.plan.keys import Contents, model_key, plain_messages, rule_key, sample_keys
from harness.plan.training_steps import TuneStep, budgeted, rows_of, tune_steps
from harness.prompting import ZeroShot
from harness.recipes.continual import other_tasks
from harness.recipes.steps import Steps, as_steps, makes_policy, tasks_of
from harness.types.jobs import Round, Stage, System, Trial
from harness.types.models import AnyModel, as_model
from harness.types.protocols import (
    AsksItself,
    Executed,
    HasEpochs,
    OnlyWeighed,
    StopsAnswers,
    Strategy,
    Task,
    answer_tokens,
    choices_of,
    needs_likelihood,
)
from harness.types.samples import Check, Decoding, Messages, Split

# A judge that gives its reasons first needs room to reach its verdict.
JUDGE_TOKENS = 256


@dataclass(frozen=True)
class Plan:
    """The stages of one experiment. `name` is the experiment file's name without .py.

    Args:
        dropped: What was taken out of TRAIN where the experiment says leaks="drop_train"; `experiment` is then
            without it.
    """

    experiment: Experiment
    name: str
    contents: Contents = field(default_factory=Contents, repr=False, compare=False)
    dropped: Check | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.experiment.leaks == "drop_train":
            found = without_copies(self.experiment.task)
            object.__setattr__(self, "experiment", replace(self.experiment, task=found.task))
            object.__setattr__(self, "dropped", found.check)

    @cached_property
    def model(self) -> AnyModel:
        return as_model(self.experiment.model)

    @cached_property
    def baselines(self) -> tuple[System, ...]:
        return tuple(
            System(strategy.name, "baseline", strategy, getattr(strategy, "model", None) or self.model)
            for strategy in self.experiment.baselines
        )

    @cached_property
    def tuned(self) -> tuple[System, ...]:
        return tuple(
            System(
                recipe.name,
                "tuned",
                recipe.prompt or self.plain_prompt,
                self.model,
                budgeted(recipe, self.experiment.task, self.experiment.budget),
            )
            for recipe in self.experiment.recipes
        )

    @cached_property
    def untuned(self) -> System:
        """The base model as a guard sees it: prompted plainly."""
        return System("untuned", "baseline", self.plain_prompt, self.model)

    @cached_property
    def plain_prompt(self) -> Strategy:
        """One object for all guards: memoised keys go by identity."""
        return ZeroShot()

    @cached_property
    def needs_likelihood(self) -> bool:
        return any(needs_likelihood(metric) for metric in self.experiment.metrics)

    @cached_property
    def criteria_key(self) -> str:
        """Identifies what is registered before the holdout opens: criteria, margins, guards, metrics, splits."""
        return rule_key(self.experiment)

    @cached_property
    def holdout(self) -> tuple[str, ...]:
        """What identifies each holdout sample by content, whichever experiment, task and prompt uses it."""
        return sample_keys(self.experiment, Split.HOLDOUT)

    @cached_property
    def holdout_key(self) -> str:
        return fingerprint(sorted(self.holdout))

    def kept(self, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        """Return `tasks`, kept as long as the plan: memoised keys go by identity, which a later object may have."""
        return self.contents.kept(tasks)

    def candidate_key(self, stages: Sequence[Stage]) -> str:
        """Identify the pair of systems that answers the holdout in these stages."""
        return fingerprint(sorted({stage.key for stage in stages}))

    def guarded(self, system: System) -> System:
        """The tuned system as it meets a guard's task: prompted as plainly as the untuned model."""
        return replace(system, served=self.plain_prompt)

    def parts(self, system: System) -> tuple[System, ...]:
        """The system as tuned on the declared parts of the training data, the whole apart."""
        return tuple(
            replace(system, name=f"{system.name} on {share:.0%} of the data", share=share)
            for share in self.experiment.curve
            if share < 1
        )

    def answering(self, system: System, task: Task, split: Split, asked: Round) -> list[Stage]:
        """Return the stages that gather this system's answers on one split."""
        if isinstance(task, OnlyWeighed):
            return [self.likelihood(system, task, split, asked.seed)]
        stages = [self.answer(system, task, split, asked.seed, asked.repeat)]
        if self._weighs(task) and system.gives_likelihoods:
            stages.append(self.likelihood(system, task, split, asked.seed))
        return stages

    def audit(self) -> Stage:
        task = self.experiment.task
        splits = [self.contents.of_data(task, split) for split in Split]
        others = [[other.name, self.contents.of_data(other, Split.TRAIN)] for other in self.other_tasks]
        key = fingerprint(["audit 2", splits, self.contents.of_corpus(task), *([others] if others else [])])
        return Stage(key=key, kind="audit", system="data", split=None, seed=0, task=task.name)

    def answer(self, system: System, task: Task, split: Split, seed: int, repeat: int = 0) -> Stage:
        prompts = self.contents.of_prompts(system.asked, task, split)
        asked = [self.decoding(task, repeat), prompts, choices_of(task)]
        asked += [task.content_key(split)] if isinstance(task, AsksItself) else []
        key = fingerprint(["answer", self._answerer(system, task, seed), *asked])
        return Stage(key=key, kind="answer", system=system.name, split=split, seed=seed, task=task.name, repeat=repeat)

    def likelihood(self, system: System, task: Task, split: Split, seed: int) -> Stage:
        prompts, data = self.contents.of_prompts(system.asked, task, split), self.contents.of_data(task, split)
        key = fingerprint(["likelihood", self._answerer(system, task, seed), prompts, data])
        return Stage(key=key, kind="likelihood", system=system.name, split=split, seed=seed, task=task.name)

    def steps(self, system: System, seed: int) -> tuple[TuneStep, ...]:
        """Return the steps in which the system's recipe is trained, in order; none for a baseline."""
        return tune_steps(self.contents, self.experiment.task, system, seed)

    def tune(self, system: System, seed: int) -> Stage:
        """Return the stage whose artifact answers the experiment's own task."""
        found = self.serving(system, self.experiment.task, seed)
        assert found is not None  # an isolated recipe without a step for the task is refused when it is declared
        return found

    def serving(self, system: System, task: Task, seed: int) -> Stage | None:
        """Return the stage whose artifact answers `task`; None if the model as it is does."""
        policies = [step for step in self.steps(system, seed) if makes_policy(step.recipe)]
        if isinstance(system.recipe, Steps) and system.recipe.isolated:
            policies = [step for step in policies if step.task.name == task.name]
        return policies[-1].stage if policies else None

    def after_steps(self, system: System) -> tuple[System, ...]:
        """Return the system as it is after each step that makes a policy, in order: itself after the last one."""
        if not isinstance(system.recipe, Steps):
            return (system,)
        recipe = system.recipe
        earlier = tuple(
            replace(system, name=f"{system.name} after step {number} ({step.name})", recipe=recipe.first(number))
            for number, step in enumerate(recipe.steps[:-1], start=1)
            if makes_policy(step)
        )
        return (*earlier, system)

    @cached_property
    def between_steps(self) -> tuple[System, ...]:
        """The systems that earlier steps leave, of the recipes that want every step measured."""
        return tuple(
            one
            for system in self.tuned
            if isinstance(system.recipe, Steps) and system.recipe.evaluate_each
            for one in self.after_steps(system)[:-1]
        )

    @cached_property
    def other_tasks(self) -> tuple[Task, ...]:
        """The tasks besides the experiment's own that a step trains on or replays, each once."""
        named = (
            one for recipe in self.experiment.recipes for step in as_steps(recipe).steps for one in other_tasks(step)
        )
        found = {one.name: one for one in named if one.name != self.experiment.task.name}
        return tuple(found.values())

    def trials(self, system: System) -> tuple[Trial, ...]:
        """Return what every task is asked of after every step, the model as it is first; none of one task alone.

        The tasks that the steps train on in their order, then the guards that have DEV samples.
        """
        tasks = self.step_tasks(system)
        if len(tasks) < 2:
            return ()
        after = self.after_steps(system)
        untuned = replace(self.untuned, strategy=system.strategy)
        guards = {guard.task.name: guard.task for guard in self.experiment.guards if guard.task.samples(Split.DEV)}
        plain = [guards[name] for name in guards if name not in {task.name for task in tasks}]
        return (
            *(Trial(task, (untuned, *after), self._learned_in(system, task)) for task in tasks),
            *(Trial(task, (self.untuned, *map(self.guarded, after))) for task in plain),
        )

    def _learned_in(self, system: System, task: Task) -> tuple[int, ...]:
        policies = [step for step in self.steps(system, 0) if makes_policy(step.recipe)]
        return tuple(number for number, step in enumerate(policies, start=1) if step.task.name == task.name)

    def step_tasks(self, system: System) -> tuple[Task, ...]:
        """Return the tasks that the recipe trains on, each once, in order."""
        return tasks_of(system.recipe, self.experiment.task) if system.recipe is not None else ()

    def measure(self, metric: Executed, answers: Stage) -> Stage:
        """A metric that runs a model: a stage of its own for each set of answers."""
        content = getattr(metric, "content_key", None)  # of the files and packages that the metric runs
        task = self.task(answers.task)
        data = self.contents.of_data(task, answers.split)
        key = fingerprint(["measure", metric, content, answers.key, data])
        return Stage(
            key=key, kind="measure", system=answers.system, split=answers.split, seed=answers.seed, task=task.name
        )

    def judge(
        self, judge: AnyModel, prompts: Sequence[Messages], answers: Stage, *, schema: str | None = None
    ) -> Stage:
        """Return the stage of what `judge` says to `prompts`, which hold the answers of stage `answers`."""
        asked = [plain_messages(messages) for messages in prompts]
        key = fingerprint(["judge", model_key(judge), asked, Decoding(max_tokens=JUDGE_TOKENS, schema=schema)])
        return Stage(
            key=key,
            kind="judge",
            system=answers.system,
            split=answers.split,
            seed=answers.seed,
            task=self.experiment.task.name,
        )

    def decoding(self, task: Task, repeat: int = 0) -> Decoding:
        tokens = answer_tokens(task)
        stop, drawn = tuple(task.stop) if isinstance(task, StopsAnswers) else (), self.experiment.sampling
        if drawn is None:
            return Decoding(max_tokens=tokens, stop=stop)
        return Decoding(max_tokens=tokens, stop=stop, temperature=drawn.temperature, top_p=drawn.top_p, seed=repeat)

    def rounds(self, system: System, task: Task) -> tuple[Round, ...]:
        """Return the seeds and repeats in which a system is asked; a baseline has one seed."""
        seeds = self.trained_with(system) if system.recipe is not None else (0,)
        return tuple(Round(seed, repeat) for seed in seeds for repeat in range(self.repeats(task)))

    def trained_with(self, system: System) -> tuple[int, ...]:
        """Return the seeds of a recipe's trainings; a part of the data, for the learning curve, is learned once."""
        return tuple(self.experiment.seeds if system.share == 1 else self.experiment.seeds[:1])

    def repeats(self, task: Task) -> int:
        """How often each sample is asked: only what is drawn can differ."""
        drawn = self.experiment.sampling
        return 1 if drawn is None or choices_of(task) or isinstance(task, AsksItself | OnlyWeighed) else drawn.repeats

    def examples(self, system: System) -> int:
        """How many training examples the system is tuned on, those of each task counted once."""
        most: dict[str, int] = {}
        for step in self.steps(system, 0):
            rows = rows_of(step.recipe, step.task, system.share)
            most[step.task.name] = max(rows, most.get(step.task.name, 0))
        return sum(most.values())

    def examples_seen(self, system: System) -> float:
        """How many training examples one training of the system sees, over all steps, repeats counted."""
        return sum(
            rows_of(step.recipe, step.task, system.share)
            * (step.recipe.epochs if isinstance(step.recipe, HasEpochs) else 1.0)
            for step in self.steps(system, 0)
        )

    def _answerer(self, system: System, task: Task, seed: int) -> list[str | None]:
        tuned = self.serving(system, task, seed) if system.recipe is not None else None
        return [self.contents.of_model(system.model), tuned.key if tuned else None]

    def _weighs(self, task: Task) -> bool:
        """Tell whether a metric of this task needs the likelihood of its references."""
        by_guards = (guard.metric for guard in self.experiment.guards if guard.task is task)
        taught = (one for system in self.tuned for one in self.step_tasks(system))
        own = task is self.experiment.task or any(one is task for one in taught)
        return (own and self.needs_likelihood) or any(needs_likelihood(metric) for metric in by_guards)

    def task(self, name: str) -> Task:
        """Return the task of this name: the experiment's own, a guard's, or that of a step."""
        of_steps = [task for system in self.tuned for task in self.step_tasks(system)]
        tasks = (self.experiment.task, *(guard.task for guard in self.experiment.guards), *of_steps)
        return next(task for task in tasks if task.name == name)
