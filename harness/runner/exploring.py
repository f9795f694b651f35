"""What is asked on DEV beyond the choice: how much data helps, and whether tuning and retrieval add up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.compare import standing
from harness.criteria import Guard
from harness.decide import better_of
from harness.prompting import RAG, ZeroShot
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
        for seed in run.plan.trained_with(part):
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
    """Return DEV answers of base, base with passages, tuned, tuned with passages; None where no passages are retrieved.

    What was not declared is asked: a tuned model answers with the passages too, or without, as it was not trained to.
    """
    own = {by_seed[0].system.name: by_seed for by_seed in dev if by_seed[0].system.model is run.plan.model}
    tuned = tuple(one for one in own.values() if one[0].system.recipe is not None)
    retrieving = tuple(one for one in own.values() if one[0].system.recipe is None and retrieves(one[0].system))
    if not retrieving or not tuned:
        return None
    best = (best_of(run, metric, systems)[0].system for systems in (retrieving, tuned))
    base, base_rag, alone, both = (
        own.get(system.name) or answered_by_seed(run, system, run.plan.experiment.task, Split.DEV)
        for system in four_systems([one[0].system for one in own.values()], *best)
    )
    return base, base_rag, alone, both


def four_systems(own: Sequence[System], base_rag: System, tuned: System) -> tuple[System, System, System, System]:
    """Return base, base with passages, tuned, tuned with passages: each pair under one prompt, so that what differs is
    the passages alone. The tuned model may have a prompt of its own.

    own: the systems that are measured anyway; what is not among them is to be asked. base_rag is asked with passages.
    """
    passages, asked = base_rag.asked, tuned.asked
    assert isinstance(passages, RAG)
    base = _asked(own, base_rag, _without_passages(passages))
    if isinstance(asked, RAG):
        return base, base_rag, _asked(own, tuned, _without_passages(asked)), tuned
    if isinstance(asked, ZeroShot):
        return base, base_rag, tuned, _asked(own, tuned, _with_passages(passages, asked))
    # A prompt that is no plain question, such as one with shots, has no place for passages: theirs is used for both.
    return base, base_rag, _asked(own, tuned, _without_passages(passages)), _asked(own, tuned, passages)


def retrieves(system: System) -> bool:
    """Tell whether a system is asked with retrieved passages."""
    return isinstance(system.asked, RAG)


def _without_passages(strategy: RAG) -> ZeroShot:
    return ZeroShot(instruction=strategy.instruction)


def _with_passages(passages: RAG, asked: ZeroShot) -> RAG:
    """Return `passages` under the instruction of another prompt."""
    return passages if passages.instruction == asked.instruction else replace(passages, instruction=asked.instruction)


def _asked(own: Sequence[System], system: System, strategy: Strategy) -> System:
    """Return the system as it is asked by `strategy`: the one among `own` that is, else one more."""
    for other in own:
        if other.recipe == system.recipe and _same_prompt(other.asked, strategy):
            return other
    how = "with passages" if isinstance(strategy, RAG) else "without passages"
    return replace(system, name=f"{system.name}, asked {how}", served=strategy)


def _same_prompt(one: Strategy, other: Strategy) -> bool:
    """Labels and models name a system; neither is part of its prompt."""
    plain = [replace(s, label=None, model=None) for s in (one, other) if isinstance(s, RAG | ZeroShot)]
    return len(plain) == 2 and plain[0] == plain[1]
