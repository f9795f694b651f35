"""One recipe with one seed: trained unless its artifact is there."""

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.errors import StageFailed
from harness.jobs import TuneJob, TuneResult
from harness.runner.context import Run, bound
from harness.runner.resolve import resolve
from harness.runner.streaming import guarded, machine, stage_row
from harness.samples import Check, Example, Sample, Split
from harness.store.rows import StageRow, TrainingLogRow
from harness.systems import Stage, System


def ensure_tuned(run: Run, system: System, seed: int) -> Path:
    """Return the folder of the tuned system, training it if the store or the folder lacks it."""
    stage = run.plan.tune(system, seed)
    found = run.store.stage(stage.key)
    if found and _folder(run, found).exists():
        return _folder(run, found)
    with run.lock(stage):
        found = run.store.stage(stage.key)
        if found and _folder(run, found).exists():
            return _folder(run, found)
        if found:
            run.progress.say(f"the artifact of {stage.label} is gone from {_folder(run, found)}: training it again")
            run.store.forget([stage.key])
        return _train(run, system, stage)


def tuning_checks(run: Run, system: System, seed: int) -> tuple[Check, ...]:
    """Return the protocol checks that the trainer made: prompt parity, the adapter at work, rows dropped."""
    found = run.store.stage(run.plan.tune(system, seed).key)
    stored = found.environment.get("checks", []) if found and isinstance(found.environment, dict) else []
    label = system.name if len(run.plan.experiment.seeds) == 1 else f"{system.name}, seed {seed}"
    return tuple(
        Check(name=f"{label}: {item['name']}", status=item["status"], detail=item["detail"], items=tuple(item["items"]))
        for item in stored
    )


def _folder(run: Run, stage: StageRow) -> Path:
    return run.store.folder / str(stage.artifact)


def _train(run: Run, system: System, stage: Stage) -> Path:
    recipe = system.recipe
    if recipe is None:
        raise StageFailed(f"{system.name} has no recipe to train")
    run.engines.close()
    if system.share < 1:  # a trainer's own line knows the recipe alone
        run.progress.say(f"for the learning curve: {stage.label}, {run.plan.examples(system):,} examples")
    folder = run.artifact(stage)
    folder.mkdir(parents=True, exist_ok=True)
    started, began = run.clock(), time.monotonic()
    with guarded(run, stage):
        job = TuneJob(
            recipe=recipe,
            model=system.model,
            train=_examples(run, system, training_share(run, system)),
            dev=_examples(run, system, run.plan.experiment.task.samples(Split.DEV)),
            seed=stage.seed,
            folder=folder,
        )
        result: TuneResult = resolve(recipe.trainer)(job, progress=run.progress)
        run.store.finish(
            stage_row(
                run,
                stage,
                started=started,
                seconds=time.monotonic() - began,
                tokens=(result.tokens, 0),
                environment=_environment(result),
                artifact=str(result.folder.relative_to(run.store.folder)),
            ),
            log=[
                TrainingLogRow(stage_key=stage.key, step=p.step, epoch=p.epoch, name=p.name, value=p.value)
                for p in result.log
            ],
        )
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return result.folder


def _examples(run: Run, system: System, samples: Sequence[Sample]) -> tuple[Example, ...]:
    prompter = bound(system.strategy, run.plan.experiment.task)
    return tuple(Example(id=sample.id, prompt=prompter(sample), answer=sample.reference) for sample in samples)


def training_share(run: Run, system: System) -> Sequence[Sample]:
    """Return the system's part of the training data: a smaller part lies within a larger one."""
    samples = run.plan.experiment.task.samples(Split.TRAIN)
    if system.share == 1:
        return samples
    drawn = sorted(range(len(samples)), key=lambda place: hashlib.sha256(samples[place].id.encode()).digest())
    return [samples[place] for place in sorted(drawn[: run.plan.examples(system)])]


def _environment(result: TuneResult) -> dict[str, object]:
    return {
        **machine(),
        **result.environment,
        "trainable_parameters": result.trainable_parameters,
        "total_parameters": result.total_parameters,
        "checks": [asdict(check) for check in result.checks],
    }
