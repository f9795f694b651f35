"""Whether a training run fits before it starts: its estimate is said, and what cannot fit is refused politely."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import HarnessError, InvalidExperiment, StageFailed
from harness.estimates.machine import this_machine
from harness.estimates.reading import read_shape
from harness.estimates.run import Estimate, Work, estimates, gib, way_out
from harness.estimates.shape import Shape
from harness.estimates.speed import Pace, measured_rate, reading_rate
from harness.jobs import TuneJob
from harness.models import Model
from harness.plan import Plan
from harness.protocols import Engine, Progress
from harness.samples import Messages, Split
from harness.systems import System

# Bytes of text a token, on the short side, and tokens of a chat template around a prompt.
_BYTES, _FRAME = 3.0, 24
# Samples whose prompts are rendered to learn their length, where nothing has run yet.
_LOOKED_AT = 50
# Training rows that the loaded model reads once to learn its pace, again unless that took so long.
_TIMED_ROWS, _TIMED_SECONDS = 8, 3.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading some training rows took the loaded model, a forward pass alone. rows: how many."""

    rows: int
    seconds: float


def timed(engine: Engine, job: TuneJob) -> Reading | None:
    """Return how long a loaded model takes to read a few training rows; None where there are none, or it refuses.

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
    return Reading(len(rows), seconds)


def check_room(job: TuneJob, *, progress: Progress, ignore: bool, reading: Reading | None = None) -> None:
    """Say what the training of `job` will take.

    ignore: train whatever it takes. reading: what a few of its rows took the loaded model.

    Raises StageFailed where it cannot fit in what is free, even if the estimate is too high by a quarter; the message
    names the smaller recipe that would. Of recipes and models that are not the harness's own nothing is said.
    """
    if not isinstance(job.model, Model):
        return
    folder = job.folder
    rows = ((example.prompt, example.answer) for example in job.train)
    work = replace(_work(rows, rows=len(job.train), dev=len(job.dev)), quantize=job.model.quantize)
    try:
        machine = this_machine(folder, device=job.model.device)
        shape = read_shape(job.model)
        pace = Pace(rate=measured_rate(), reading=_reading_rate(shape, work, reading))
        found = estimates(shape, job.recipe, machine, work, pace=pace)
    except InvalidExperiment as error:
        progress.say(f"the memory of {job.recipe.name} cannot be estimated: {error}")
        return
    for one in found:
        progress.say(one.sentence)
        if one.cannot_fit and not ignore:
            raise StageFailed(_refusal(one, pace))


def _reading_rate(shape: Shape, work: Work, reading: Reading | None) -> float | None:
    if reading is None:
        return None
    return reading_rate(shape, tokens=reading.rows * (work.mean or work.length), seconds=reading.seconds)


def planned(plan: Plan, system: System, *, folder: Path) -> tuple[Estimate, ...]:
    """Return the estimates of a system's recipe before anything ran, from the first samples of TRAIN.

    Raises InvalidExperiment where the model's files do not say its sizes.
    """
    if system.recipe is None or not isinstance(system.model, Model):
        return ()
    task = plan.experiment.task
    samples = task.samples(Split.TRAIN)[:_LOOKED_AT]
    texts = [(system.strategy.messages(task, sample), sample.reference) for sample in samples]
    machine = this_machine(folder, device=system.model.device)
    work = _work(texts, rows=plan.examples(system), dev=len(task.samples(Split.DEV)))
    work = replace(work, quantize=system.model.quantize)
    return estimates(read_shape(system.model), system.recipe, machine, work, pace=Pace(rate=measured_rate()))


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


def _refusal(found: Estimate, pace: Pace) -> str:
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
