"""The decoding loop: rows enter, take a token a pass, leave when they are done, and waiting ones take their place."""

import time
from collections import deque
from collections.abc import Iterator, Sequence

import torch

from harness.errors import InvalidEvidence
from harness.inference.local.kv_cache import BatchState, ContinuousBatch, PaddedBatch
from harness.inference.local.packing import SharedPrefix
from harness.inference.local.sequence import DecodingModel, Generated, RunningSequence, TokenRequest, next_tokens
from harness.types.samples import Decoding

# Rows enter when this share of the table is free: a prefill of few rows costs nearly what one of many does.
_FREE = 0.25


@torch.inference_mode()
def generate(
    speaker: DecodingModel, requests: Sequence[TokenRequest], decoding: Decoding, prefix: SharedPrefix, *, rows: int
) -> Iterator[tuple[int, Generated]]:
    """Yield (place in `requests`, answer) as answers are complete, at most `rows` of them in the making at once.

    Greedy answers are those of `model.generate` up to rounding. A sampled answer depends on its prompt, its draw and
    `decoding.seed` alone, not on the rows beside it.

    Raises InvalidEvidence where the model's logits are not finite.
    """
    waiting = deque(RunningSequence(place, request, decoding) for place, request in enumerate(requests))
    active: list[RunningSequence] = []
    table = _table(speaker, requests, prefix, rows)
    while waiting or active:
        began = time.perf_counter()
        entering = _entering(waiting, active, rows, table)
        logits = table.enter(entering) if entering else table.step(active)
        active += entering
        moving = entering or active
        tokens = next_tokens(_finite(logits), moving, decoding.temperature)
        share = (time.perf_counter() - began) / len(moving)
        for row, token in zip(moving, tokens, strict=True):
            row.seconds += share
            row.take(token, speaker)
        yield from ((row.place, row.answer) for row in moving if row.answer)
        if any(row.answer for row in moving):
            order = _closed_up([place for place, row in enumerate(active) if not row.answer])
            table.keep(order)
            active = [active[place] for place in order]


def _table(speaker: DecodingModel, requests: Sequence[TokenRequest], prefix: SharedPrefix, rows: int) -> BatchState:
    if not speaker.shares:
        return PaddedBatch(speaker, prefix)
    capacity = max((len(request.prompt) - prefix.tokens + request.room for request in requests), default=0)
    return ContinuousBatch(speaker, prefix, rows=min(rows, len(requests)), capacity=capacity)


def _entering(
    waiting: deque[RunningSequence], active: Sequence[RunningSequence], rows: int, table: BatchState
) -> list[RunningSequence]:
    """Take the rows that enter now from `waiting`."""
    free = min(rows - len(active), len(waiting))
    if active and (not table.joins or free < min(len(waiting), max(1, int(rows * _FREE)))):
        return []
    return [waiting.popleft() for _ in range(free)]


def _closed_up(kept: Sequence[int]) -> list[int]:
    """Return `kept`, ascending places, in an order in which as few as can be change their place: the last fill gaps."""
    stay = set(kept)
    movers = [place for place in kept if place >= len(kept)]
    return [place if place in stay else movers.pop() for place in range(len(kept))]


def _finite(logits: torch.Tensor) -> torch.Tensor:
    # A NaN anywhere makes the sum NaN; one pass is cheaper than isfinite().all().
    if bool(torch.isnan(logits.sum())):
        raise InvalidEvidence(
            "the model's logits are not numbers (NaN): its weights are broken, nothing it says counts"
        )
    return logits
