"""Log-likelihoods of texts, and answers that are chosen by them."""

from collections.abc import Iterator, Sequence

from harness.protocols import Engine
from harness.runner.context import Run
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
        for places, likelihoods in engine.likelihoods(pairs, done=done):
            rows = [
                likelihood_row(stage, requests[place][:2], likelihood)
                for place, likelihood in zip(places, likelihoods, strict=True)
                if place not in done
            ]
            yield rows, len(rows)

    tokens_before = (sum(row.tokens for row in stored.values()), 0)
    work = Stream(stage, "texts", total=len(requests), done=len(done), seconds_before=0.0, tokens_before=tokens_before)
    return work, batches()


def likelihood_row(stage: Stage, name: tuple[str, str], likelihood: Likelihood) -> LikelihoodRow:
    """Return one row; name: the sample's id, and the choice."""
    return LikelihoodRow(
        stage_key=stage.key,
        sample_id=name[0],
        choice=name[1],
        logprob=likelihood.logprob,
        tokens=likelihood.tokens,
        bytes=likelihood.bytes,
        greedy=likelihood.greedy,
    )


def choose(
    run: Run,
    engine: Engine,
    stage: Stage,
    ids: Sequence[str],
    prompts: Sequence[Messages],
    choices: Sequence[str],
) -> None:
    """Answer each prompt with its choice of highest log-likelihood; ties go to the first."""
    requests = [(ids[place], choice, prompt, choice) for place, prompt in enumerate(prompts) for choice in choices]
    work, batches = _weighing(run, engine, stage, requests)

    def all_batches() -> Iterator[tuple[Sequence[LikelihoodRow | AnswerRow], int]]:
        yield from batches
        yield (), 0  # an empty batch makes `stream` store what is pending, to be read back
        found = {(row.sample_id, row.choice): row for row in run.store.likelihoods(stage.key)}
        rows = []
        for name, prompt in zip(ids, prompts, strict=True):
            best = max(choices, key=lambda choice: found[name, choice].logprob)
            rows.append(_chosen(stage, name, prompt, best, sum(found[name, choice].tokens for choice in choices)))
        yield rows, 0

    stream(run, work, all_batches(), lambda: {**machine(), **engine.description})


def _chosen(stage: Stage, name: str, prompt: Messages, best: str, tokens: int) -> AnswerRow:
    return AnswerRow(
        stage_key=stage.key,
        sample_id=name,
        repeat=0,
        prompt="\n\n".join(f"{message.role}: {message.text}" for message in prompt),
        text=best,
        value=None,
        tokens_in=tokens,
        tokens_out=0,
        seconds=0.0,
    )
