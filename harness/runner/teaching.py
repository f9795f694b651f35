"""What one step of a recipe is taught: its task's examples, what it replays, and what it starts from."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from harness.errors import StageFailed
from harness.jobs import TuneJob
from harness.plan import TuneStep
from harness.plan.tuning import new_rows, replayed, replays
from harness.protocols import Task
from harness.runner.context import Run, bound
from harness.runner.pairing import taught
from harness.samples import Check, Example, Sample, Split
from harness.systems import System


def job_of(run: Run, system: System, step: TuneStep, folders: Mapping[str, Path]) -> tuple[TuneJob, tuple[Check, ...]]:
    """Return the training run of a step, and the checks on what it is taught.

    folders: those of the steps that this one needs, by the key of their stage.
    """
    replay, checks = _replay(run, system, step)
    keeps = getattr(step.recipe, "keep", None) is not None
    train, dev = training_share(run, system, step), run.samples(step.task, Split.DEV)
    preferences = taught(step.task, step.recipe, bound(system.strategy, step.task), train, dev)
    job = TuneJob(
        recipe=step.recipe,
        model=system.model,
        train=_examples(run, system, step.task, train),
        dev=_examples(run, system, step.task, dev),
        seed=step.stage.seed,
        folder=run.artifact(step.stage),
        start=folders[step.start.key] if step.start else None,
        reward=folders[step.reward.key] if step.reward else None,
        earlier=tuple(one for task in step.earlier for one in _other_examples(run, system, task)) if keeps else (),
        replay=replay,
        task=step.task,
        pairs=preferences.pairs,
        dev_pairs=preferences.dev_pairs,
        votes=preferences.votes,
        dev_votes=preferences.dev_votes,
    )
    return job, (*checks, *preferences.checks)


def training_share(run: Run, system: System, step: TuneStep) -> Sequence[Sample]:
    """Return the system's part of the training data: a smaller part lies within a larger one."""
    samples = run.samples(step.task, Split.TRAIN)
    if system.share == 1:
        return samples
    drawn = sorted(range(len(samples)), key=lambda place: hashlib.sha256(samples[place].id.encode()).digest())
    return [samples[place] for place in sorted(drawn[: new_rows(step.recipe, step.task, system.share)])]


def _examples(run: Run, system: System, task: Task, samples: Sequence[Sample]) -> tuple[Example, ...]:
    prompter = bound(system.strategy, task)
    return tuple(
        Example(id=sample.id, prompt=prompter(sample), answer=sample.reference, sample=sample) for sample in samples
    )


def _other_examples(run: Run, system: System, task: Task) -> tuple[Example, ...]:
    """Return another task's training examples, under ids that are those of no other task's."""
    prompter = bound(system.strategy, task)
    return tuple(
        Example(id=f"{task.name}/{sample.id}", prompt=prompter(sample), answer=sample.reference, sample=sample)
        for sample in run.samples(task, Split.TRAIN)
    )


def _replay(run: Run, system: System, step: TuneStep) -> tuple[tuple[Example, ...], tuple[Check, ...]]:
    """Return the examples of other tasks that are learned again, drawn by the seed, and the check that counts them."""
    new = new_rows(step.recipe, step.task, system.share)
    drawn: list[Example] = []
    said = []
    short = False
    for task, ratio in replayed(step.recipe):
        pool = _other_examples(run, system, task)
        if not pool:
            raise StageFailed(
                f"{step.recipe.name} replays {task.name!r}, which has no train samples; leave it out of mix"
            )
        count = replays(task, ratio, new)
        places = random.Random(f"{step.stage.seed} {task.name}").sample(range(len(pool)), count)  # noqa: S311 - a draw
        drawn += [pool[place] for place in sorted(places)]
        short = short or count < round(ratio * new)
        said.append(f"{count:,} of {len(pool):,} training examples of {task.name} ({ratio:.0%} of {new:,} new ones)")
    if not said:
        return (), ()
    status: Literal["ok", "warning"] = "warning" if short or not drawn else "ok"
    detail = f"replayed beside {step.task.name}: {', '.join(said)}{'; there are no more' if short else ''}"
    return tuple(drawn), (Check(name="replay", status=status, detail=detail),)
