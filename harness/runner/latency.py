"""Answers asked for again one at a time, since the time of a batch says nothing of one caller's wait."""

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.metrics import Latency
from harness.plan import model_key
from harness.runner.answers import Answered, OneAtATime, Questions, ask_questions, load_answers
from harness.runner.context import Run, bound
from harness.runner.training import ensure_serving
from harness.types.jobs import Stage
from harness.types.models import Model
from harness.types.protocols import AsksItself, Engine, Task
from harness.types.samples import Sample


def timed_alone(run: Run, metric: Latency, answered: Answered) -> Answered:
    """Return the same system's answers to some of the samples, each asked by itself; stored as any stage.

    Raises InvalidExperiment for a task that asks in a way of its own, which takes all samples together.
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
    _ensure(run, answered, task, stage, samples)
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


def _ensure(run: Run, answered: Answered, task: Task, stage: Stage, samples: Sequence[Sample]) -> None:
    if run.store.stage(stage.key):
        return
    with run.lock(stage):
        if run.store.stage(stage.key):
            return
        system = answered.system
        adapter = None if system.recipe is None else ensure_serving(run, system, task, stage.seed)
        engine = run.engines.open(model_key(system.model), system.model, adapter)
        if isinstance(system.model, Model):
            _warm_up(run, engine, answered, task, samples[0])
        ask_questions(run, OneAtATime(engine), stage, Questions(system, task, samples))


def _warm_up(run: Run, engine: Engine, answered: Answered, task: Task, sample: Sample) -> None:
    """Answer once without a clock: the first answer of a model also pays for what is prepared once."""
    prompt = bound(answered.system.asked, task)(sample)
    for _ in engine.generate([prompt], run.plan.decoding(task, answered.stage.repeat)):
        pass
