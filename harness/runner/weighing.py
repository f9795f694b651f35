"""Log-likelihoods of texts, and answers that are chosen by them."""

import time
from collections.abc import Iterator, Sequence

from harness.protocols import Engine
from harness.runner.context import Run
from harness.runner.prompted import Prompted
from harness.runner.streaming import Stream, machine, stream
from harness.samples import Likelihood, Messages
from harness.store.rows import AnswerRow, LikelihoodRow
from harness.systems import Stage


def weigh(run: Run, engine: Engine, stage: Stage, requests: Sequence[tuple[str, str, Messages, str]]) -> None:
    """Compute log-likelihoods; a request is (sample id, choice or '', prompt, text)."""
    work, batches = _weighing(run, engine, stage, requests)
    stream(run, work, batches, lambda: {**machine(), **engine.description})


def _weighing(
    run: Run, engine: Engine, stage: Stage, requests: Sequence[tuple[str, str, Messages, str]]
) -> tuple[Stream, Iterator[tuple[Sequence[LikelihoodRow], int]]]:
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
    work = Stream(
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


def choose(
    run: Run,
    engine: Engine,
    stage: Stage,
    asked: Sequence[Prompted],
    choices: Sequence[str],
) -> None:
    """Answer each prompt with its choice of highest log-likelihood; ties go to the first."""
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

    batch: texts of several samples share a batch's time, so that all of a stage's answers count as one.
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
