"""A task of lm-eval asked of an engine: its requests computed here, the answers as every other task's."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.data.lm_eval.task import LmEvalRequest, LmEvalTask
from harness.errors import InvalidExperiment
from harness.inference.lm_eval_model import HarnessLM
from harness.inference.local.engine import LocalEngine
from harness.inference.local.loglikelihood import LogLikelihood
from harness.inference.models.rendering import prompt_text
from harness.types.protocols import Batch, Engine
from harness.types.samples import Completion, Decoding, Likelihood, Messages, Sample


@dataclass
class _Reply:
    """What is known of one sample's answer. found: place among its requests -> the likelihoods of its windows."""

    sample: Sample
    prompt: str
    asked: Sequence[LmEvalRequest]
    missing: int
    found: dict[int, list[Likelihood]] = field(default_factory=dict)
    text: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    cut: bool = False


def ask(
    task: LmEvalTask, engine: Engine, asked: Sequence[tuple[Sample, Messages]], *, done: frozenset[int] = frozenset()
) -> Iterator[Batch]:
    """Yield (positions, completions) as samples are answered; those in `done` are left out.

    Raises:
        InvalidExperiment: If the engine is no local model: lm-eval's requests are made of its tokens.
    """
    if not isinstance(engine, LocalEngine):
        raise InvalidExperiment(
            f"lm-eval task {task.name!r} scores tokens of a model that runs here; give a local model, or measure the "
            "server with lm-eval itself"
        )
    speaker = HarnessLM(engine)
    replies = [_reply(task, speaker, sample, prompt) for sample, prompt in asked]
    for positions in _answered(speaker, replies, done):
        new = tuple(position for position in positions if position not in done)
        batch = None if len(asked) == 1 else 0  # windows of several samples share their batches
        yield new, tuple(_completion(task, replies[position], batch) for position in new)


def _reply(task: LmEvalTask, speaker: HarnessLM, sample: Sample, prompt: Messages) -> _Reply:
    requests = task.requests(sample, prompt, lambda messages: _rendered(speaker, messages))
    shown = next((request.context for request in requests if request.context), "")
    return _Reply(sample, shown, requests, missing=0)


def _rendered(speaker: HarnessLM, messages: Messages) -> str:
    if any(message.verbatim for message in messages):
        return prompt_text(speaker.tokenizer, messages)
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return speaker.apply_chat_template(turns, add_generation_prompt=messages[-1].role != "assistant")


def _answered(speaker: HarnessLM, replies: Sequence[_Reply], done: frozenset[int]) -> Iterator[list[int]]:
    """Fill in the replies; yield the positions of those that are complete, as they become so."""
    weighed: list[tuple[int, int, LogLikelihood]] = []
    written: dict[Decoding, list[int]] = {}
    for position, reply in enumerate(replies):
        for place, request in enumerate(reply.asked):
            if request.kind == "write":
                written.setdefault(speaker.decoding(request.options), []).append(position)
            else:
                reading = request.kind == "read"
                rows = speaker.windows(request.text) if reading else [speaker.pair(request.context, request.text)]
                weighed += [(position, place, row) for row in rows]
                reply.found[place] = []
                reply.missing += len(rows)
        reply.missing += any(request.kind == "write" for request in reply.asked)
    yield [position for position, reply in enumerate(replies) if not reply.missing]  # an empty text has no window
    yield from _weigh(speaker, replies, weighed, done)
    for decoding, positions in written.items():
        yield from _write(speaker, replies, positions, decoding, done)


def _weigh(
    speaker: HarnessLM,
    replies: Sequence[_Reply],
    weighed: Sequence[tuple[int, int, LogLikelihood]],
    done: frozenset[int],
) -> Iterator[list[int]]:
    known = frozenset(place for place, (position, _, _) in enumerate(weighed) if position in done)
    began = time.perf_counter()
    for places, likelihoods in speaker.engine.likelihoods_of_tokens([row for _, _, row in weighed], done=known):
        seconds = (time.perf_counter() - began) / len(places)
        complete = []
        for at, likelihood in zip(places, likelihoods, strict=True):
            position, place, row = weighed[at]
            reply = replies[position]
            reply.found[place].append(likelihood)
            reply.tokens_in = max(reply.tokens_in, len(row.prompt))
            reply.seconds += seconds
            reply.missing -= 1
            if not reply.missing:
                complete.append(position)
        yield complete
        began = time.perf_counter()


def _write(
    speaker: HarnessLM, replies: Sequence[_Reply], positions: Sequence[int], decoding: Decoding, done: frozenset[int]
) -> Iterator[list[int]]:
    contexts = [next(r.context for r in replies[position].asked if r.kind == "write") for position in positions]
    prompts = speaker.prompts(contexts, decoding)
    known = frozenset(place for place, position in enumerate(positions) if position in done)
    for place, answer in speaker.generated(prompts, decoding, done=known):
        reply = replies[positions[place]]
        reply.text, reply.cut = answer.text, answer.cut
        reply.tokens_in, reply.tokens_out = len(prompts[place].prompt), answer.tokens
        reply.seconds += answer.seconds
        reply.missing -= 1
        yield [] if reply.missing else [positions[place]]


def _completion(task: LmEvalTask, reply: _Reply, batch: int | None) -> Completion:
    likelihoods = tuple(
        Likelihood(
            logprob=sum(part.logprob for part in reply.found[place]),
            tokens=sum(part.tokens for part in reply.found[place]),
            bytes=len(request.text.encode()),
            greedy=all(part.greedy for part in reply.found[place]),
        )
        for place, request in enumerate(reply.asked)
        if request.kind != "write"
    )
    writes = len(likelihoods) < len(reply.asked)
    said = (
        reply.text
        if writes
        else task.documents.said(
            reply.sample, [one.logprob for one in likelihoods], greedy=all(one.greedy for one in likelihoods)
        )
    )
    return Completion(
        text=said,
        prompt=reply.prompt,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        seconds=reply.seconds,
        ended="length" if reply.cut else "stop",
        likelihoods=likelihoods,
        timed_in_batch=batch,
    )
