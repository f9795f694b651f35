"""One system's answers to one split: from the store where they are, from the engine where they are missing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from harness.fingerprint import fingerprint
from harness.plan import JUDGE_TOKENS, choices_of, model_key
from harness.protocols import AnyModel, AsksItself, Batch, Engine, Task
from harness.runner.context import Run, bound, read_value
from harness.runner.loading import load
from harness.runner.prompted import Prompted, prompted
from harness.runner.resolve import resolve
from harness.runner.streaming import Stream, machine, stream
from harness.runner.training import ensure_serving
from harness.runner.weighing import choose, likelihood_row, weigh
from harness.samples import Answer, Completion, Decoding, Messages, Sample, Split
from harness.store.rows import AnswerRow, LikelihoodRow
from harness.systems import Stage, System


@dataclass(frozen=True)
class Answered:
    """A system's answers on one split with one seed, in the order of the samples.

    stages: all that these answers came from. parts: where a split was asked a block at a time, the blocks; `stage`
    then stands for all of them.
    """

    system: System
    stage: Stage
    samples: tuple[Sample, ...]
    answers: tuple[Answer, ...]
    stages: tuple[Stage, ...] = ()
    parts: tuple["Answered", ...] = ()

    @property
    def stage_keys(self) -> tuple[str, ...]:
        """The stage that holds each answer."""
        if self.parts:
            return tuple(key for part in self.parts for key in part.stage_keys)
        return (self.stage.key,) * len(self.answers)


BySeed = tuple[Answered, ...]


def answered_by_seed(run: Run, system: System, task: Task, split: Split) -> BySeed:
    """Return the answers of every seed, and of every repeat where answers are drawn; a baseline has one seed."""
    rounds = run.plan.rounds(system, task)
    return tuple(answered(run, system, task, split, seed, repeat) for seed, repeat in rounds)


def joined(parts: Sequence[Answered]) -> Answered:
    """Return blocks of one split, asked one after another, as one."""
    first = parts[0]
    return Answered(
        first.system,
        replace(first.stage, key=fingerprint([part.stage.key for part in parts])),
        tuple(sample for part in parts for sample in part.samples),
        tuple(answer for part in parts for answer in part.answers),
        tuple(stage for part in parts for stage in part.stages),
        tuple(parts),
    )


def answered(run: Run, system: System, task: Task, split: Split, seed: int, repeat: int = 0) -> Answered:
    """Return the answers, computing what the store lacks."""
    stages = run.plan.answering(system, task, split, seed, repeat)
    samples = run.samples(task, split)
    for stage in stages:
        ensure(run, system, task, stage, samples)
    answers = load(run, task, stages, samples)
    return Answered(system, stages[0], samples, answers, tuple(stages))


def ensure(run: Run, system: System, task: Task, stage: Stage, samples: Sequence[Sample]) -> None:
    """Bring one answer or likelihood stage to its end, unless it is there."""
    with run.lock(stage):
        if run.store.stage(stage.key):
            return
        adapter = None
        if system.recipe is not None:
            adapter = ensure_serving(run, system, task, stage.seed)
        ask(run, run.engines.open(model_key(system.model), system.model, adapter), system, task, stage, samples)


def ask(run: Run, engine: Engine, system: System, task: Task, stage: Stage, samples: Sequence[Sample]) -> None:
    """Ask `engine` as `system` is asked, and store what it says as `stage`; `samples` are asked in their order."""
    asked = prompted(bound(system.asked, task), samples)
    if stage.kind == "likelihood":
        pairs = zip(asked, samples, strict=True)
        weigh(run, engine, stage, [(one.sample_id, "", one.prompt, sample.reference) for one, sample in pairs])
    elif isinstance(task, AsksItself):
        asker, questions = resolve(task.asker), [(s, one.prompt) for s, one in zip(samples, asked, strict=True)]
        _collect(run, engine, stage, asked, partial(asker, task, engine, questions), partial(_value, task, samples))
    elif choices_of(task):
        choose(run, engine, stage, asked, choices_of(task))
    else:
        decoding = run.plan.decoding(task, stage.repeat)
        generate(run, engine, stage, asked, decoding, partial(_value, task, samples))


def generate(
    run: Run,
    engine: Engine,
    stage: Stage,
    asked: Sequence[Prompted],
    decoding: Decoding,
    read: Callable[[int, str], object],
) -> None:
    """Generate an answer to each prompt; `read(place, text)` is the value that is stored with it."""
    _collect(run, engine, stage, asked, partial(engine.generate, [one.prompt for one in asked], decoding), read)


def _value(task: Task, samples: Sequence[Sample], place: int, text: str) -> object:
    return read_value(task, text, samples[place])


def _collect(
    run: Run,
    engine: Engine,
    stage: Stage,
    asked: Sequence[Prompted],
    ask: Callable[..., Iterator[Batch]],
    read: Callable[[int, str], object],
) -> None:
    """Store what `ask(done=...)` yields as it comes: answers, and the likelihoods that they were chosen by."""
    stored = {row.sample_id: row for row in run.store.answers(stage.key)}
    weighed = run.store.likelihoods(stage.key) if stored else ()
    done = frozenset(place for place, one in enumerate(asked) if one.sample_id in stored)
    work = Stream(
        stage,
        "answers",
        total=len(asked),
        done=len(done),
        seconds_before=sum(row.seconds for row in stored.values())
        + sum(one.lookup_seconds for place, one in enumerate(asked) if place not in done),
        tokens_before=(
            sum(row.tokens_in for row in stored.values()) + sum(row.tokens for row in weighed),
            sum(row.tokens_out for row in stored.values()),
        ),
    )

    def batches() -> Iterator[tuple[Sequence[AnswerRow | LikelihoodRow], int]]:
        for places, completions in ask(done=done):
            new = [pair for pair in zip(places, completions, strict=True) if pair[0] not in done]
            rows: list[AnswerRow | LikelihoodRow] = []
            for place, completion in new:
                rows.append(_answer_row(stage, asked[place], completion, read(place, completion.text)))
                rows += [
                    likelihood_row(stage, (asked[place].sample_id, str(choice)), likelihood)
                    for choice, likelihood in enumerate(completion.likelihoods)
                ]
            yield rows, len(new)

    stream(run, work, batches(), lambda: {**machine(), **engine.description})


def _answer_row(stage: Stage, one: Prompted, completion: Completion, value: object) -> AnswerRow:
    return AnswerRow(
        stage_key=stage.key,
        sample_id=one.sample_id,
        repeat=0,
        prompt=completion.prompt,
        text=completion.text,
        value=value,
        tokens_in=completion.tokens_in,
        tokens_out=completion.tokens_out,
        seconds=completion.seconds + one.lookup_seconds,
        ended=completion.ended,
        reasoning=completion.reasoning,
        timed_in_batch=completion.timed_in_batch,
        lookup_seconds=one.lookup_seconds,
        retrieved=one.retrieved,
    )


def judged(
    run: Run, stage: Stage, judge: AnyModel, asked: Sequence[tuple[str, Messages]], *, schema: str | None = None
) -> dict[str, str]:
    """Return a judge model's text for each id, asking what the store lacks. schema: as in `Decoding`."""
    if not run.store.stage(stage.key):
        with run.lock(stage):
            if not run.store.stage(stage.key):
                engine = run.engines.open(model_key(judge), judge, None)
                questions = [Prompted(sample_id=name, prompt=prompt) for name, prompt in asked]
                decoding = Decoding(max_tokens=JUDGE_TOKENS, schema=schema)
                generate(run, engine, stage, questions, decoding, lambda place, text: None)
    return {row.sample_id: row.text for row in run.store.answers(stage.key)}
