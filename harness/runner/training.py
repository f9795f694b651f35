"""A recipe with one seed: its steps in order, each trained unless its artifact is there."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.errors import StageFailed
from harness.jobs import TuneJob, TuneResult
from harness.models import ENGINES, Model
from harness.plan import TuneStep, model_key
from harness.protocols import Task
from harness.recipes import Steps
from harness.runner.context import Run
from harness.runner.resolve import resolve
from harness.runner.room import Reading, check_room, timed
from harness.runner.streaming import guarded, machine, stage_row
from harness.runner.teaching import job_of
from harness.samples import Check
from harness.store.rows import StageRow, TrainingLogRow
from harness.systems import Stage, System


def ensure_tuned(run: Run, system: System, seed: int) -> Path:
    """Return the folder of the tuned system, training the steps that the store or the folders lack.

    Raises StageFailed where a step's own checks say that nothing can be built on it.
    """
    served = run.plan.tune(system, seed)
    for checks in train_steps(run, system, seed):
        broken = next((check for check in checks if check.status == "invalid"), None)
        if broken is not None and _folder_of(run, served) is None:
            raise StageFailed(f"{served.label} builds on a step that failed: {broken.name}: {broken.detail}")
    folder = _folder_of(run, served)
    assert folder is not None  # the last step was just trained
    return folder


def ensure_serving(run: Run, system: System, task: Task, seed: int) -> Path | None:
    """Return the folder of what answers `task`; None where that is the model as it is."""
    stage = run.plan.serving(system, task, seed)
    if stage is None:
        return None
    found = _folder_of(run, stage)
    if found is None:
        ensure_tuned(run, system, seed)
        found = _folder_of(run, stage)
    assert found is not None
    return found


def train_steps(run: Run, system: System, seed: int) -> Iterator[tuple[Check, ...]]:
    """Train what is missing, a step at a time, and yield each step's checks; nothing is trained where all is there.

    A caller that stops asking stops the training: what a broken step left teaches the next one nothing.
    """
    steps = run.plan.steps(system, seed)
    wanted = _missing(run, system, steps)
    for step in steps:
        if step in wanted:
            _ensure(run, system, step, steps)
        yield _checks(run, system, step, of=len(steps))


def _missing(run: Run, system: System, steps: Sequence[TuneStep]) -> list[TuneStep]:
    """Return the steps without which the system cannot answer: none of them where its last one is there."""
    if isinstance(system.recipe, Steps) and system.recipe.isolated:
        return list(steps)
    return [] if _folder_of(run, steps[-1].stage) else list(steps)


def _ensure(run: Run, system: System, step: TuneStep, steps: Sequence[TuneStep]) -> None:
    stage = step.stage
    if _folder_of(run, stage):
        return
    with run.lock(stage):
        if _folder_of(run, stage):
            return
        found = run.store.stage(stage.key)
        if found:
            run.progress.say(f"the artifact of {stage.label} is gone from {_place(run, found)}: training it again")
            run.store.forget([stage.key])
        _train(run, system, step, steps)


def _folder_of(run: Run, stage: Stage) -> Path | None:
    """Return where the result of a finished stage lies, None where it is not finished or its folder is gone."""
    found = run.store.stage(stage.key)
    return _place(run, found) if found and _place(run, found).exists() else None


def _place(run: Run, stage: StageRow) -> Path:
    return run.store.folder / str(stage.artifact)


def _checks(run: Run, system: System, step: TuneStep, *, of: int) -> tuple[Check, ...]:
    """Return the protocol checks that the trainer made: prompt parity, the adapter at work, rows dropped."""
    found = run.store.stage(step.stage.key)
    stored = found.environment.get("checks", []) if found and isinstance(found.environment, dict) else []
    label = system.name if of == 1 else f"{system.name}, step {step.number}"
    label = label if len(run.plan.experiment.seeds) == 1 else f"{label}, seed {step.stage.seed}"
    return tuple(
        Check(name=f"{label}: {item['name']}", status=item["status"], detail=item["detail"], items=tuple(item["items"]))
        for item in stored
    )


def _train(run: Run, system: System, step: TuneStep, steps: Sequence[TuneStep]) -> None:
    stage, recipe = step.stage, step.recipe
    if system.share < 1:  # a trainer's own line knows the recipe alone
        run.progress.say(f"for the learning curve: {stage.label}, {run.plan.examples(system):,} examples")
    elif len(steps) > 1:
        run.progress.say(f"{stage.label} learns {step.task.name}")
    folder = run.artifact(stage)
    folder.mkdir(parents=True, exist_ok=True)
    started, began = run.clock(), time.monotonic()
    with guarded(run, stage):
        folders = {one.stage.key: found for one in steps if (found := _folder_of(run, one.stage)) is not None}
        job, taught = job_of(run, system, step, folders)
        reading = _timed(run, job)
        run.engines.close()
        check_room(job, progress=run.progress, ignore=run.ignore_memory, reading=reading)
        result: TuneResult = resolve(recipe.trainer)(job, progress=run.progress)
        run.store.finish(
            stage_row(
                run,
                stage,
                started=started,
                seconds=result.seconds_before + time.monotonic() - began,
                tokens=(result.tokens, 0),
                environment=_environment(result, taught),
                artifact=str(result.folder.relative_to(run.store.folder)),
            ),
            log=[
                TrainingLogRow(stage_key=stage.key, step=p.step, epoch=p.epoch, name=p.name, value=p.value)
                for p in result.log
            ],
        )
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _timed(run: Run, job: TuneJob) -> Reading | None:
    """Return the pace of the job's model where the baselines left it loaded, and it computes here."""
    if not isinstance(job.model, Model) or job.model.engine != ENGINES["transformers"]:
        return None
    key = model_key(job.model)
    return timed(run.engines.open(key, job.model, None), job) if run.engines.is_open(key) else None


def _environment(result: TuneResult, taught: Sequence[Check]) -> dict[str, object]:
    return {
        **machine(),
        **result.environment,
        "trainable_parameters": result.trainable_parameters,
        "total_parameters": result.total_parameters,
        "checks": [asdict(check) for check in (*taught, *result.checks)],
    }
