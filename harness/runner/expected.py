"""Every stage that a run may come to, told before anything runs, in the order of pipeline.py.

Each is made by the function that the run itself makes it by. What depends on what will be found says on what.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from harness.metrics import Latency
from harness.plan import Plan
from harness.runner.checks import parity_stage, why_not_compared
from harness.runner.dev_analyses import four_systems, retrieves
from harness.runner.holdout import holdout_blocks
from harness.runner.latency import timing_stage
from harness.runner.noise import possible_noise
from harness.runner.pipeline import choosing_metric_of
from harness.types.jobs import Round, Stage, System
from harness.types.protocols import Executed, JudgedMetric, Named, PairMetric, Task
from harness.types.samples import Split

# "": runs in any case. "if chosen": of the systems that DEV chooses. "if tuned": unless stop_if says that the baseline
# is enough. "if time": within the share of time that asking again has. "if open": until the holdout has decided.
Condition = Literal["", "if chosen", "if tuned", "if time", "if open"]


@dataclass(frozen=True)
class Expected:
    """A stage that may run.

    Attributes:
        stage: The stage; its key is empty if it depends on answers that are not there yet.
        when: What it depends on.
    """

    stage: Stage
    when: Condition = ""


def expected_stages(plan: Plan) -> tuple[Expected, ...]:
    """Return the stages, each once: recipes that begin alike share what they begin with."""
    found: dict[object, Expected] = {}
    for one in _in_order(plan):
        key = (one.stage.key or one.stage.label, one.stage.task)
        if key not in found or (found[key].when and not one.when):
            found[key] = one
    return tuple(found.values())


def _in_order(plan: Plan) -> Iterator[Expected]:
    yield Expected(plan.audit())
    yield from _baselines(plan)
    tuning: Condition = "if tuned" if plan.experiment.stop_if else ""
    yield from (Expected(one.stage, one.when or tuning) for one in (*_tuning(plan), *_explored(plan)))
    yield from _holdout(plan)


def _baselines(plan: Plan) -> Iterator[Expected]:
    for system in plan.baselines:
        yield from _always(_measured(plan, system, plan.experiment.task, Split.DEV, plan.experiment.metrics))
    judged = [metric for metric in plan.experiment.metrics if isinstance(metric, Executed)]
    wanted = {name for rule in plan.experiment.go_if for name in rule.metrics}
    for system in plan.baselines:
        answers = plan.answering(system, plan.experiment.task, Split.DEV, Round())[0]
        again = possible_noise(plan, system, answers)
        measures = [plan.measure(m, one) for one in again for m in judged if m.name in wanted]
        yield from (Expected(stage, "if time") for stage in (*again, *measures))
        if _judges(plan):
            yield Expected(replace(answers, key="", kind="judge"), _of_several(plan.baselines))


def _tuning(plan: Plan) -> Iterator[Expected]:
    task, seeds = plan.experiment.task, plan.experiment.seeds
    yield from _always(step.stage for system in plan.tuned for seed in seeds for step in plan.steps(system, seed))
    for system in plan.tuned:
        yield from _always(_measured(plan, system, task, Split.DEV, plan.experiment.metrics))
        if not why_not_compared(plan, system):
            answers = [plan.answering(system, task, Split.DEV, each)[0] for each in plan.rounds(system, task)]
            yield from (Expected(parity_stage(one), _of_several(plan.tuned)) for one in answers)


def _explored(plan: Plan) -> Iterator[Expected]:
    task = plan.experiment.task
    primary: list[Named] = [choosing_metric_of(plan.experiment)]
    several = _of_several(plan.tuned)
    for asked in _four_ways(plan):
        yield from (Expected(stage, "if chosen") for stage in _measured(plan, asked, task, Split.DEV, primary))
    for part in (part for system in plan.tuned for part in plan.parts(system)):
        trained = [step.stage for seed in plan.trained_with(part) for step in plan.steps(part, seed)]
        asked_of = _measured(plan, part, task, Split.DEV, primary)
        yield from (Expected(stage, several) for stage in (*trained, *asked_of))
    for system in plan.between_steps:
        yield from _always(_measured(plan, system, task, Split.DEV, plan.experiment.metrics))
    guards = {guard.task.name: guard for guard in plan.experiment.guards}
    for trial in (trial for system in plan.tuned for trial in plan.trials(system)):
        metrics: list[Named] = primary if trial.learned else [guards[trial.task.name].metric]
        for system in trial.systems:
            stages = _measured(plan, system, trial.task, Split.DEV, metrics)
            yield from _always(
                stage if trial.task is task else replace(stage, part=trial.task.name) for stage in stages
            )
    if len(plan.tuned) > 1:
        yield from _guards(plan, Split.DEV, "")


def _four_ways(plan: Plan) -> Iterator[System]:
    """Yield the systems that may be asked with passages, or without them, beyond what is declared."""
    own = [system for system in (*plan.baselines, *plan.tuned) if system.model is plan.model]
    retrieving = [system for system in own if system.recipe is None and retrieves(system)]
    for base_rag, tuned in product(retrieving, [system for system in own if system.recipe is not None]):
        yield from (system for system in four_systems(own, base_rag, tuned) if system not in own)


def _holdout(plan: Plan) -> Iterator[Expected]:
    task, metrics = plan.experiment.task, plan.experiment.metrics
    blocks: Sequence[Task] = holdout_blocks(plan, frozenset()) if plan.experiment.stop_early else (task,)
    for number, block in enumerate(blocks, start=1):
        for system in (*plan.baselines, *plan.tuned):
            if len(blocks) == 1:
                yield from (Expected(s, "if chosen") for s in _measured(plan, system, block, Split.HOLDOUT, metrics))
                continue
            part = f"part {number} of {len(blocks)}"
            for stage in _asked(plan, system, block, Split.HOLDOUT):
                yield Expected(replace(stage, part=part), "if open" if number > 1 else "if chosen")
    for system in plan.tuned if _judges(plan) else ():
        for seed in plan.experiment.seeds:
            votes = plan.answering(system, task, Split.HOLDOUT, Round(seed))[0]
            yield Expected(replace(votes, key="", kind="judge"), "if chosen")
    yield from _guards(plan, Split.HOLDOUT, "if chosen")


def _judges(plan: Plan) -> bool:
    """Whether a model compares answers: on a few pairs of DEV, to see that it is understood, and on the holdout."""
    metrics = plan.experiment.metrics
    return any(isinstance(metric, JudgedMetric) and metric.judge is not None for metric in metrics)


def _guards(plan: Plan, split: Split, when: Condition) -> Iterator[Expected]:
    for guard in plan.experiment.guards:
        if guard.task.samples(split):
            for system in (plan.untuned, *map(plan.guarded, plan.tuned)):
                yield from (Expected(s, when) for s in _measured(plan, system, guard.task, split, [guard.metric]))


def _asked(plan: Plan, system: System, task: Task, split: Split) -> list[Stage]:
    return [stage for each in plan.rounds(system, task) for stage in plan.answering(system, task, split, each)]


def _measured(plan: Plan, system: System, task: Task, split: Split, metrics: Iterable[Named]) -> Iterator[Stage]:
    """Yield the stages of a system's answers, then those of the metrics that run a model on them."""
    stages = _asked(plan, system, task, split)
    yield from stages
    for metric in metrics:
        if isinstance(metric, Executed) and not isinstance(metric, PairMetric | JudgedMetric):
            yield from (plan.measure(metric, stage) for stage in stages if stage.kind == "answer")
        if isinstance(metric, Latency) and metric.one_at_a_time:
            yield timing_stage(metric, stages[0], task.samples(split))


def _always(stages: Iterable[Stage]) -> Iterator[Expected]:
    return (Expected(stage) for stage in stages)


def _of_several(systems: Sequence[System]) -> Condition:
    return "if chosen" if len(systems) > 1 else ""
