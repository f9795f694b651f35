"""Answers asked for again one at a time, since the time of a batch says nothing of one caller's wait."""

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.metrics import Latency
from harness.runner.answers import Answered, Asked, OneAtATime, ask_questions, load_answers, serving_engine
from harness.runner.context import Run, bound
from harness.types.jobs import Stage
from harness.types.models import Model
from harness.types.protocols import AsksItself, Engine
from harness.types.samples import Sample


def timed_alone(run: Run, metric: Latency, answered: Answered) -> Answered:
    """Return the same system's answers to some of the samples, each asked by itself; stored as any stage.

    Raises:
        InvalidExperiment: For a task that asks in a way of its own, which takes all samples together.
    """
    answered = first_block(answered)
    task = run.plan.task(answered.stage.task)
    if isinstance(task, AsksItself):
        raise InvalidExperiment(
            f"Latency(one_at_a_time=True): task {task.name!r} asks its samples together; use Latency(), or a task that "
            "asks one prompt a sample"
        )
    samples = _spread(answered.samples, metric.samples)
    stage = timing_stage(metric, answered.stage, answered.samples)
    _ensure(run, Asked(answered.system, task, stage, samples, run.plan.decoding(task, stage.repeat)))
    answers = load_answers(run, task, [stage], samples)
    return Answered(answered.system, stage, samples, answers, (stage,))


def timing_stage(metric: Latency, answers: Stage, samples: Sequence[Sample]) -> Stage:
    """Return the stage in which `answers` to `samples` are timed."""
    ids = [sample.id for sample in _spread(samples, metric.samples)]
    return replace(answers, key=fingerprint(["timing", answers.key, ids]), kind="timing")


def first_block(answered: Answered) -> Answered:
    """Return the answers, or the first block of a split that is asked in blocks: it is looked at after each of them."""
    return answered.parts[0] if answered.parts else answered


def _spread(samples: Sequence[Sample], most: int) -> tuple[Sample, ...]:
    """Return at most so many samples, evenly spread."""
    count = len(samples)
    kept = min(most, count)
    return tuple(samples[place] for place in sorted({place * count // kept for place in range(kept)}))


def _ensure(run: Run, asked: Asked) -> None:
    if run.store.stage(asked.stage.key):
        return
    with run.lock(asked.stage):
        if run.store.stage(asked.stage.key):
            return
        engine = serving_engine(run, asked)
        if isinstance(asked.system.model, Model):
            _warm_up(engine, asked)
        ask_questions(run, OneAtATime(engine), asked)


def _warm_up(engine: Engine, asked: Asked) -> None:
    """Answer once without a clock: the first answer of a model also pays for what is prepared once."""
    prompt = bound(asked.system.asked, asked.task)(asked.samples[0])
    for _ in engine.generate([prompt], asked.decoding):
        pass
