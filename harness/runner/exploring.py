"""What is asked on DEV beyond the choice: how much data helps, and whether tuning and retrieval add up."""

from dataclasses import dataclass, replace

from harness.compare import standing
from harness.criteria import Guard
from harness.decide import better_of
from harness.prompting import RAG
from harness.protocols import AnyMetric, Strategy
from harness.runner.answering import BySeed, answered_by_seed
from harness.runner.context import Run
from harness.runner.scoring import scored
from harness.runner.training import ensure_tuned
from harness.samples import Split
from harness.systems import System


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
        for seed in run.plan.experiment.seeds:
            ensure_tuned(run, part, seed)
    return tuple(answered_by_seed(run, part, run.plan.experiment.task, Split.DEV) for part in parts)


def between_steps(run: Run) -> tuple[BySeed, ...]:
    """Return DEV answers of what earlier steps left, where a recipe asks for them; none of it is ever chosen."""
    return tuple(
        answered_by_seed(run, system, run.plan.experiment.task, Split.DEV) for system in run.plan.between_steps
    )


@dataclass(frozen=True)
class Guarded:
    """What the untuned and the tuned model answered to a guard's task."""

    guard: Guard
    untuned: BySeed
    tuned: BySeed


def forgetting(run: Run) -> tuple[Guarded, ...]:
    """Return what each of several recipes answered to the DEV samples of the guards that have some."""
    plan = run.plan
    guards = [guard for guard in plan.experiment.guards if guard.task.samples(Split.DEV)]
    if len(plan.tuned) < 2:
        return ()
    return tuple(
        Guarded(
            guard=guard,
            untuned=answered_by_seed(run, plan.untuned, guard.task, Split.DEV),
            tuned=answered_by_seed(run, plan.guarded(system), guard.task, Split.DEV),
        )
        for guard in guards
        for system in plan.tuned
    )


def four_ways(run: Run, metric: AnyMetric, dev: tuple[BySeed, ...]) -> tuple[BySeed, BySeed, BySeed, BySeed] | None:
    """Return DEV answers of base, base with retrieval, tuned, tuned with retrieval; None where one is not to be had.

    What was not declared is asked: a tuned model answers with the passages too, or without, as it was not trained to.
    """
    own = [by_seed for by_seed in dev if by_seed[0].system.model is run.plan.model]
    groups = {
        (tuned, with_passages): tuple(
            by_seed
            for by_seed in own
            if (by_seed[0].system.recipe is not None) is tuned and retrieves(by_seed[0].system) is with_passages
        )
        for tuned in (False, True)
        for with_passages in (False, True)
    }
    if not groups[False, True] or not groups[False, False]:
        return None
    base, with_passages = (best_of(run, metric, groups[False, way]) for way in (False, True))
    return (
        base,
        with_passages,
        _tuned(run, metric, groups[True, False], groups[True, True], served=run.plan.plain_prompt),
        _tuned(run, metric, groups[True, True], groups[True, False], served=with_passages[0].system.strategy),
    )


def _tuned(
    run: Run, metric: AnyMetric, declared: tuple[BySeed, ...], others: tuple[BySeed, ...], *, served: Strategy
) -> BySeed:
    if declared:
        return best_of(run, metric, declared)
    best = best_of(run, metric, others)[0].system
    return answered_by_seed(run, asked_otherwise(best, served), run.plan.experiment.task, Split.DEV)


def asked_otherwise(tuned: System, served: Strategy) -> System:
    """Return the tuned system as it is asked with passages though it was tuned without, or the other way round."""
    asked = replace(tuned, served=served)
    return replace(asked, name=f"{tuned.name}, asked {'with' if retrieves(asked) else 'without'} passages")


def retrieves(system: System) -> bool:
    """Tell whether a system is asked with retrieved passages."""
    return isinstance(system.asked, RAG)
