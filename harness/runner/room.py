"""Whether a training run fits before it starts: its estimate is said, and what cannot fit is refused politely."""

from collections.abc import Iterable
from pathlib import Path

from harness.errors import InvalidExperiment, StageFailed
from harness.estimates.machine import this_machine
from harness.estimates.reading import read_shape
from harness.estimates.run import Estimate, Work, estimates, gib, smaller
from harness.estimates.speed import measured_rate
from harness.jobs import TuneJob
from harness.models import Model
from harness.plan import Plan
from harness.protocols import Progress
from harness.recipes.exchange.expression import write_recipe
from harness.samples import Messages, Split
from harness.systems import System

# Bytes of text a token, on the short side, and tokens of a chat template around a prompt.
_BYTES, _FRAME = 3.0, 24
# Samples whose prompts are rendered to learn their length, where nothing has run yet.
_LOOKED_AT = 50


def check_room(job: TuneJob, *, progress: Progress, ignore: bool) -> None:
    """Say what the training of `job` will take.

    ignore: train whatever it takes.

    Raises StageFailed where it cannot fit in what is free, even if the estimate is too high by a quarter; the message
    names the smaller recipe that would. Of recipes and models that are not the harness's own nothing is said.
    """
    if not isinstance(job.model, Model):
        return
    folder = job.folder
    work = _work(((example.prompt, example.answer) for example in job.train), rows=len(job.train), dev=len(job.dev))
    try:
        machine = this_machine(folder, device=job.model.device)
        shape = read_shape(job.model)
        found = estimates(shape, job.recipe, machine, work, rate=measured_rate())
    except InvalidExperiment as error:
        progress.say(f"the memory of {job.recipe.name} cannot be estimated: {error}")
        return
    for one in found:
        progress.say(one.sentence)
        if one.cannot_fit and not ignore:
            raise StageFailed(_refusal(one))


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
    return estimates(read_shape(system.model), system.recipe, machine, work, rate=measured_rate())


def _work(texts: Iterable[tuple[Messages, str]], *, rows: int, dev: int) -> Work:
    """Return how long rows are, by the bytes of their text: no tokenizer is loaded for it."""
    pairs = [
        (sum(_tokens(message.text + message.tools) for message in prompt), _tokens(answer)) for prompt, answer in texts
    ]
    return Work(
        rows=max(1, rows),
        length=_FRAME + max((prompt + answer for prompt, answer in pairs), default=1),
        answer=1 + max((answer for _, answer in pairs), default=1),
        dev=dev,
    )


def _tokens(text: str) -> int:
    return round(len(text.encode()) / _BYTES) + 1


def _refusal(found: Estimate) -> str:
    machine = found.machine
    needs = (
        f"{found.recipe.name} needs about {gib(found.memory.total)} of memory and {gib(found.disk)} of disk, and "
        f"{gib(machine.free)} and {gib(machine.disk)} are free ({machine.name})"
    )
    other = smaller(found, rate=measured_rate())
    way = "take a smaller model or shorter rows" if other is None else f"this would fit: {write_recipe(other.recipe)}"
    return f"{needs}; {way}. To train all the same: pytest --ignore-memory"
