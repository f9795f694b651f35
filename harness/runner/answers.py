"""One system's answers to one split: from the store if they are, from the engine if they are missing.

Stored rows -> answers, with values as the task reads them now.

A sample's prompt, and what making it took: a retriever's time is a part of every answer that it serves.

Log-likelihoods of texts, and answers that are chosen by them.

An engine that is never asked two things at once: what batches change in its answers is gone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import cast

from harness.errors import StageFailed
from harness.fingerprint import fingerprint
from harness.plan import JUDGE_TOKENS, model_key
from harness.runner.context import AnswerStream, Run, bound, machine, read_value, stream
from harness.runner.training import ensure_serving
from harness.store.rows import AnswerRow, LikelihoodRow
from harness.types.dotted_paths import resolve
from harness.types.jobs import Round, Stage, System
from harness.types.protocols import (
    AnyModel,
    AsksItself,
    Batch,
    Engine,
    LikelihoodBatch,
    LooksUp,
    Named,
    OnlyWeighed,
    Prompter,
    Task,
    choices_of,
)
from harness.types.samples import Answer, Completion, Decoding, Ended, Likelihood, Messages, Sample, Score, Split


def load_answers(run: Run, task: Task, stages: Sequence[Stage], samples: Sequence[Sample]) -> tuple[Answer, ...]:
    """Return stored answers with values as the task reads them now: editing a reader regenerates nothing."""
    if isinstance(task, OnlyWeighed):
        weighed = {name: found[0] for name, found in _likelihoods(run, task, stages[0]).items()}
        return tuple(Answer(sample_id=s.id, text="", likelihood=weighed[s.id]) for s in samples)
    rows = {row.sample_id: row for row in run.store.answers(stages[0].key)}
    missing = [sample.id for sample in samples if sample.id not in rows]
    if missing:
        run.store.forget([stages[0].key])
        raise StageFailed(
            f"{stages[0].label}: the engine gave no answer to {len(missing):,} of {len(samples):,} samples, first "
            f"{missing[0]!r}; mend the engine and run again: what it did answer is asked anew"
        )
    chosen_by = _likelihoods(run, task, stages[0])
    of_references = {name: found[0] for stage in stages[1:] for name, found in _likelihoods(run, task, stage).items()}
    answers = tuple(
        _answer(
            rows[sample.id],
            read_value(task, rows[sample.id].text, sample),
            likelihood=of_references.get(sample.id),
            likelihoods=chosen_by.get(sample.id, ()),
        )
        for sample in samples
    )
    changed = {answer.sample_id: answer.value for answer in answers if answer.value != rows[answer.sample_id].value}
    if changed:
        run.store.revalue(stages[0].key, changed)
    return answers


def _likelihoods(run: Run, task: Task, stage: Stage) -> dict[str, tuple[Likelihood, ...]]:
    """Return a stage's likelihoods by sample id, in the order of its choices; none if it wrote freely."""
    choices = choices_of(task)
    if stage.kind != "likelihood" and not choices and not isinstance(task, AsksItself):
        return {}
    places = {choice: place for place, choice in enumerate(choices)} | {"": 0}
    found: dict[str, dict[int, Likelihood]] = {}
    for row in run.store.likelihoods(stage.key):
        place = places[row.choice] if row.choice in places else int(row.choice)
        found.setdefault(row.sample_id, {})[place] = Likelihood(row.logprob, row.tokens, row.bytes, row.greedy)
    return {name: tuple(by_place[place] for place in sorted(by_place)) for name, by_place in found.items()}


def _answer(
    row: AnswerRow, value: object, *, likelihood: Likelihood | None, likelihoods: tuple[Likelihood, ...]
) -> Answer:
    return Answer(
        sample_id=row.sample_id,
        text=row.text,
        value=value,
        prompt=row.prompt,
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        seconds=row.seconds,
        ended=cast(Ended, row.ended),
        reasoning=row.reasoning,
        likelihood=likelihood,
        likelihoods=likelihoods,
        timed_in_batch=row.timed_in_batch,
        lookup_seconds=row.lookup_seconds,
        retrieved=row.retrieved,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """One prompt. lookup_seconds: what making it took. retrieved: texts found for it, None if none are looked up."""

    sample_id: str
    prompt: Messages
    lookup_seconds: float = 0.0
    retrieved: int | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """A stage that is put to an engine, with its prompts."""

    engine: Engine
    stage: Stage
    prompts: Sequence[Prompted]


def prompted(prompter: Prompter, samples: Sequence[Sample]) -> list[Prompted]:
    """Return the prompt of each sample, in their order."""
    return [_prompted(prompter, sample) for sample in samples]


def _prompted(prompter: Prompter, sample: Sample) -> Prompted:
    began = time.perf_counter()
    if not isinstance(prompter, LooksUp):
        prompt = prompter(sample)
        return Prompted(sample_id=sample.id, prompt=prompt, lookup_seconds=time.perf_counter() - began)
    prompt, retrieved = prompter.look_up(sample)
    seconds = time.perf_counter() - began
    return Prompted(sample_id=sample.id, prompt=prompt, lookup_seconds=seconds, retrieved=retrieved)


def weigh(run: Run, engine: Engine, stage: Stage, requests: Sequence[tuple[str, str, Messages, str]]) -> None:
    """Compute log-likelihoods; a request is (sample id, choice or '', prompt, text)."""
    work, batches = _weighing(run, engine, stage, requests)
    stream(run, work, batches, lambda: {**machine(), **engine.description})


def _weighing(
    run: Run, engine: Engine, stage: Stage, requests: Sequence[tuple[str, str, Messages, str]]
) -> tuple[AnswerStream, Iterator[tuple[Sequence[LikelihoodRow], int]]]:
    stored = {(row.sample_id, row.choice): row for row in run.store.likelihoods(stage.key)}
    done = frozenset(place for place, request in enumerate(requests) if request[:2] in stored)

    def batches() -> Iterator[tuple[Sequence[LikelihoodRow], int]]:
        pairs = [(prompt, text) for _, _, prompt, text in requests]
        began = time.perf_counter()
        for places, likelihoods in engine.likelihoods(pairs, done=done):
            share = (time.perf_counter() - began) / max(1, len(places))
            rows = [
                likelihood_row(stage, requests[place][:2], likelihood, seconds=share)
                for place, likelihood in zip(places, likelihoods, strict=True)
                if place not in done
            ]
            yield rows, len(rows)
            began = time.perf_counter()

    tokens_before = (sum(row.tokens for row in stored.values()), 0)
    before = sum(row.seconds or 0.0 for row in stored.values())
    work = AnswerStream(
        stage, "texts", total=len(requests), done=len(done), seconds_before=before, tokens_before=tokens_before
    )
    return work, batches()


def likelihood_row(
    stage: Stage, name: tuple[str, str], likelihood: Likelihood, *, seconds: float | None = None
) -> LikelihoodRow:
    """Return one row; name: the sample's id, and the choice. seconds: this text's share of its batch's time."""
    return LikelihoodRow(
        stage_key=stage.key,
        sample_id=name[0],
        choice=name[1],
        logprob=likelihood.logprob,
        tokens=likelihood.tokens,
        bytes=likelihood.bytes,
        greedy=likelihood.greedy,
        seconds=seconds,
    )


def choose(run: Run, asking: Asking, choices: Sequence[str]) -> None:
    """Answer each prompt with its choice of highest log-likelihood; ties go to the first."""
    engine, stage, asked = asking.engine, asking.stage, asking.prompts
    requests = [(one.sample_id, choice, one.prompt, choice) for one in asked for choice in choices]
    work, batches = _weighing(run, engine, stage, requests)
    alone = len(asked) == 1 or engine.description.get("at_once") == 1

    def all_batches() -> Iterator[tuple[Sequence[LikelihoodRow | AnswerRow], int]]:
        yield from batches
        yield (), 0  # an empty batch makes `stream` store what is pending, to be read back
        found = {(row.sample_id, row.choice): row for row in run.store.likelihoods(stage.key)}
        rows = []
        for one in asked:
            weighed = [found[one.sample_id, choice] for choice in choices]
            rows.append(_chosen(stage, one, weighed, batch=None if alone else 0))
        yield rows, 0

    stream(run, work, all_batches(), lambda: {**machine(), **engine.description})


def _chosen(stage: Stage, one: Prompted, weighed: Sequence[LikelihoodRow], *, batch: int | None) -> AnswerRow:
    """Return the answer of highest likelihood, with the time that weighing all choices took.

    Args:
        batch: Texts of several samples share a batch's time, so that all of a stage's answers count as one.
    """
    best = max(weighed, key=lambda row: row.logprob)
    known = [row.seconds for row in weighed if row.seconds is not None]
    seconds = sum(known) / len(known) * len(weighed) if known else 0.0  # some were stored before times were
    return AnswerRow(
        stage_key=stage.key,
        sample_id=one.sample_id,
        repeat=0,
        prompt="\n\n".join(f"{message.role}: {message.text}" for message in one.prompt),
        text=best.choice,
        value=None,
        tokens_in=sum(row.tokens for row in weighed),
        tokens_out=0,
        seconds=seconds + one.lookup_seconds,
        timed_in_batch=batch,
        lookup_seconds=one.lookup_seconds,
        retrieved=one.retrieved,
    )


@dataclass(frozen=True)
class Answered:
    """A system's answers on one split with one seed, in the order of the samples.

    Args:
        stages: All that these answers came from.
        parts: Where a split was asked a block at a time, the blocks; `stage` then stands for all of them.
        scores: What metrics gave these answers already, by the metric's name.
    """

    system: System
    stage: Stage
    samples: tuple[Sample, ...]
    answers: tuple[Answer, ...]
    stages: tuple[Stage, ...] = ()
    parts: tuple["Answered", ...] = ()
    scores: dict[str, tuple[Named, tuple[Score, ...]]] = field(init=False, default_factory=dict, repr=False)

    @property
    def stage_keys(self) -> tuple[str, ...]:
        """The stage that holds each answer."""
        if self.parts:
            return tuple(key for part in self.parts for key in part.stage_keys)
        return (self.stage.key,) * len(self.answers)


BySeed = tuple[Answered, ...]


def answered_by_seed(run: Run, system: System, task: Task, split: Split) -> BySeed:
    """Return the answers of every seed, and of every repeat where answers are drawn; a baseline has one seed."""
    return tuple(answered(run, system, task, split, each) for each in run.plan.rounds(system, task))


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


def answered(run: Run, system: System, task: Task, split: Split, asked: Round) -> Answered:
    """Return the answers, computing what the store lacks."""
    stages = run.plan.answering(system, task, split, asked)
    samples = run.samples(task, split)
    for stage in stages:
        ensure(run, Asked(system, task, stage, samples, run.plan.decoding(task, asked.repeat)))
    answers = load_answers(run, task, stages, samples)
    return Answered(system, stages[0], samples, answers, tuple(stages))


@dataclass(frozen=True)
class Asked:
    """What a system is asked in one stage.

    Attributes:
        system: Who answers, and how it is prompted.
        task: What the samples are of.
        stage: Which keeps the answers.
        samples: In the order in which they are asked.
        decoding: How answers that are written freely come about.
    """

    system: System
    task: Task
    stage: Stage
    samples: Sequence[Sample]
    decoding: Decoding

    def value(self, place: int, text: str) -> object:
        """Return what the task reads in the answer to the sample at `place`."""
        return read_value(self.task, text, self.samples[place])


def ensure(run: Run, asked: Asked) -> None:
    """Bring one answer or likelihood stage to its end, unless it is there."""
    with run.lock(asked.stage):
        if run.store.stage(asked.stage.key):
            return
        ask_questions(run, serving_engine(run, asked), asked)


def serving_engine(run: Run, asked: Asked) -> Engine:
    """Return the engine that answers as the system: with what its recipe trained, if it has one."""
    system = asked.system
    adapter = None if system.recipe is None else ensure_serving(run, system, asked.task, asked.stage.seed)
    return run.engines.open(model_key(system.model), system.model, adapter)


def ask_questions(run: Run, engine: Engine, asked: Asked) -> None:
    """Ask `engine`, and store what it says as the stage."""
    task, stage, samples = asked.task, asked.stage, asked.samples
    prompts = prompted(bound(asked.system.asked, task), samples)
    asking = Asking(engine, stage, prompts)
    if stage.kind == "likelihood":
        pairs = zip(prompts, samples, strict=True)
        weigh(run, engine, stage, [(one.sample_id, "", one.prompt, sample.reference) for one, sample in pairs])
    elif isinstance(task, AsksItself):
        own = [(sample, one.prompt) for sample, one in zip(samples, prompts, strict=True)]
        _collect(run, asking, partial(resolve(task.asker), task, engine, own), asked.value)
    elif choices_of(task):
        choose(run, asking, choices_of(task))
    else:
        _generate(run, asking, asked.decoding, asked.value)


def _generate(run: Run, asking: Asking, decoding: Decoding, read: Callable[[int, str], object]) -> None:
    """Generate an answer to each prompt; `read(place, text)` is the value that is stored with it."""
    prompts = [one.prompt for one in asking.prompts]
    _collect(run, asking, partial(asking.engine.generate, prompts, decoding), read)


def _collect(run: Run, asking: Asking, ask: Callable[..., Iterator[Batch]], read: Callable[[int, str], object]) -> None:
    """Store what `ask(done=...)` yields as it comes: answers, and the likelihoods that they were chosen by."""
    stage, asked = asking.stage, asking.prompts
    stored = {row.sample_id: row for row in run.store.answers(stage.key)}
    weighed = run.store.likelihoods(stage.key) if stored else ()
    done = frozenset(place for place, one in enumerate(asked) if one.sample_id in stored)
    work = AnswerStream(
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

    stream(run, work, batches(), lambda: {**machine(), **asking.engine.description})


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
                prompts = [Prompted(sample_id=name, prompt=prompt) for name, prompt in asked]
                decoding = Decoding(max_tokens=JUDGE_TOKENS, schema=schema)
                _generate(run, Asking(engine, stage, prompts), decoding, lambda place, text: None)
    return {row.sample_id: row.text for row in run.store.answers(stage.key)}


class OneAtATime:
    """`engine`, asked singly; see `harness.types.protocols.Engine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        return {**self._engine.description, "at_once": 1}

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        for place, prompt in enumerate(prompts):
            if place not in done:
                yield from (((place,), found) for _, found in self._engine.generate([prompt], decoding))

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        # The texts that are weighed after one prompt, such as a task's choices, are one question.
        for _, places in groupby(range(len(requests)), key=lambda place: requests[place][0]):
            asked = [place for place in places if place not in done]
            for inner, found in self._engine.likelihoods([requests[place] for place in asked]) if asked else ():
                yield tuple(asked[place] for place in inner), found

    def use(self, adapter: Path | None) -> None:
        self._engine.use(adapter)

    def close(self) -> None:
        self._engine.close()
