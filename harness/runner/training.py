"""A recipe with one seed: its steps in order, each trained unless its artifact is there.

Whether a training run fits before it starts: its estimate is said, and what cannot fit is refused politely.

What one step of a recipe is taught: its task's examples, what it replays, and what it starts from.
"""

import hashlib
import random
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.errors import HarnessError, InvalidExperiment, StageFailed
from harness.plan import Plan, TuneStep, model_key
from harness.plan.training_steps import new_rows, replayed, replays
from harness.recipes import Steps
from harness.resources.estimate import RunEstimate, estimates, gib, way_out
from harness.resources.machine import this_machine
from harness.resources.model_shape import read_shape
from harness.resources.time import TrainingPace, Work, measured_rate, reading_rate
from harness.runner.context import Run, Spent, bound, guarded, machine, stage_row
from harness.runner.preference_data import taught
from harness.store.rows import StageRow, TrainingLogRow
from harness.types.codec import to_json
from harness.types.dotted_paths import resolve
from harness.types.jobs import Stage, System, TuneJob, TuneResult
from harness.types.models import ENGINES, Model
from harness.types.protocols import Engine, KeepsTasks, Progress, Task
from harness.types.samples import Check, Example, Messages, Sample, Split
from harness.types.shapes import ModelShape

# Bytes of text a token, on the short side, and tokens of a chat template around a prompt.
_BYTES, _FRAME = 3.0, 24
# Samples whose prompts are rendered to learn their length, where nothing has run yet.
_LOOKED_AT = 50
# Training rows that the loaded model reads once to learn its pace, again unless that took so long.
_TIMED_ROWS, _TIMED_SECONDS = 8, 3.0


@dataclass(frozen=True, slots=True)
class ForwardPassTime:
    """What reading some training rows took the loaded model, a forward pass alone. rows: how many."""

    rows: int
    seconds: float


def timed(engine: Engine, job: TuneJob) -> ForwardPassTime | None:
    """Return how long a loaded model takes to read a few training rows; None if there are none, or it refuses.

    It is read twice: the first time may prepare weights and the beginning that rows share.
    """
    count = min(_TIMED_ROWS, len(job.train))
    chosen = [job.train[at * len(job.train) // count] for at in range(count)]
    rows = [(example.prompt, example.answer) for example in chosen if example.answer]
    if not rows:
        return None
    try:
        for again in (False, True):
            began = time.perf_counter()
            for _ in engine.likelihoods(rows):
                pass
            seconds = time.perf_counter() - began
            if again or seconds > _TIMED_SECONDS:
                break
    except HarnessError:
        return None  # a row too long, or an engine without likelihoods: the estimate is only wider then
    return ForwardPassTime(len(rows), seconds)


def check_room(job: TuneJob, *, progress: Progress, ignore: bool, reading: ForwardPassTime | None = None) -> None:
    """Say what the training of `job` will take.

    Args:
        ignore: Train whatever it takes.
        reading: What a few of its rows took the loaded model.

    Raises:
        StageFailed: If it cannot fit in what is free, even if the estimate is too high by a quarter; the message
            names the smaller recipe that would. Of recipes and models that are not the harness's own nothing is
            said.
    """
    if not isinstance(job.model, Model):
        return
    folder = job.folder
    rows = ((example.prompt, example.answer) for example in job.train)
    work = replace(_work(rows, rows=len(job.train), dev=len(job.dev)), quantize=job.model.quantize)
    try:
        machine = this_machine(folder, device=job.model.device)
        shape = read_shape(job.model)
        pace = TrainingPace(rate=measured_rate(), reading=_reading_rate(shape, work, reading))
        found = estimates(shape, job.recipe, machine, work, pace=pace)
    except InvalidExperiment as error:
        progress.say(f"the memory of {job.recipe.name} cannot be estimated: {error}")
        return
    for one in found:
        progress.say(one.sentence)
        if one.cannot_fit and not ignore:
            raise StageFailed(_refusal(one, pace))


def _reading_rate(shape: ModelShape, work: Work, reading: ForwardPassTime | None) -> float | None:
    if reading is None:
        return None
    return reading_rate(shape, tokens=reading.rows * (work.mean or work.length), seconds=reading.seconds)


def planned(plan: Plan, system: System, *, folder: Path) -> tuple[RunEstimate, ...]:
    """Return the estimates of a system's recipe before anything ran, from the first samples of TRAIN.

    Raises:
        InvalidExperiment: If the model's files do not say its sizes.
    """
    if system.recipe is None or not isinstance(system.model, Model):
        return ()
    task = plan.experiment.task
    samples = task.samples(Split.TRAIN)[:_LOOKED_AT]
    texts = [(system.strategy.messages(task, sample), sample.reference) for sample in samples]
    machine = this_machine(folder, device=system.model.device)
    work = _work(texts, rows=plan.examples(system), dev=len(task.samples(Split.DEV)))
    work = replace(work, quantize=system.model.quantize)
    return estimates(read_shape(system.model), system.recipe, machine, work, pace=TrainingPace(rate=measured_rate()))


def _work(texts: Iterable[tuple[Messages, str]], *, rows: int, dev: int) -> Work:
    """Return how long rows are, by the bytes of their text: no tokenizer is loaded for it."""
    pairs = [
        (sum(_tokens(message.text + message.tools) for message in prompt), _tokens(answer)) for prompt, answer in texts
    ]
    return Work(
        rows=max(1, rows),
        length=_FRAME + max((prompt + answer for prompt, answer in pairs), default=1),
        mean=_FRAME + sum(prompt + answer for prompt, answer in pairs) / max(1, len(pairs)),
        answer=1 + max((answer for _, answer in pairs), default=1),
        dev=dev,
    )


def _tokens(text: str) -> int:
    return round(len(text.encode()) / _BYTES) + 1


def _refusal(found: RunEstimate, pace: TrainingPace) -> str:
    machine, work = found.machine, found.work
    at_once = found.recipe.micro_batch_size or found.recipe.batch_size
    needs = (
        f"{found.recipe.name} needs about {gib(found.memory.total)} of memory for {at_once} rows of up to "
        f"{work.length} tokens at once, and {gib(found.disk)} of disk, and {gib(machine.free)} and "
        f"{gib(machine.disk or 0)} are free ({found.where})"
    )
    if found.only_answering:
        needs += f"; training takes {gib(found.memory.training)} of it, the model that answers afterwards all of it"
    return f"{needs}; {way_out(found, pace=pace)}. To train all the same: pytest --ignore-memory"


def job_of(run: Run, system: System, step: TuneStep, folders: Mapping[str, Path]) -> tuple[TuneJob, tuple[Check, ...]]:
    """Return the training run of a step, and the checks on what it is taught.

    Args:
        folders: Those of the steps that this one needs, by the key of their stage.
    """
    replay, checks = _replay(run, system, step)
    keeps = isinstance(step.recipe, KeepsTasks) and step.recipe.keep is not None
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


def ensure_tuned(run: Run, system: System, seed: int) -> Path:
    """Return the folder of the tuned system, training the steps that the store or the folders lack.

    Raises:
        StageFailed: If a step's own checks say that nothing can be built on it.
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
    """Return the folder of what answers `task`; None if that is the model as it is."""
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
    """Return where the result of a finished stage lies, None if it is not finished or its folder is gone."""
    found = run.store.stage(stage.key)
    return _place(run, found) if found and _place(run, found).exists() else None


def _place(run: Run, stage: StageRow) -> Path:
    return run.store.folder / str(stage.artifact)


def _checks(run: Run, system: System, step: TuneStep, *, of: int) -> tuple[Check, ...]:
    """Return the protocol checks that the trainer made: prompt parity, the adapter at work, rows dropped."""
    found = run.store.stage(step.stage.key)
    made = found.facts.checks if found is not None else ()
    label = system.name if of == 1 else f"{system.name}, step {step.number}"
    label = label if len(run.plan.experiment.seeds) == 1 else f"{label}, seed {step.stage.seed}"
    return tuple(replace(check, name=f"{label}: {check.name}") for check in made)


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
                Spent(started, result.seconds_before + time.monotonic() - began, result.tokens),
                _environment(result, taught),
                artifact=str(result.folder.relative_to(run.store.folder)),
            ),
            log=[
                TrainingLogRow(stage_key=stage.key, step=p.step, epoch=p.epoch, name=p.name, value=p.value)
                for p in result.log
            ],
        )
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _timed(run: Run, job: TuneJob) -> ForwardPassTime | None:
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
        "checks": to_json((*taught, *result.checks)),
    }
