"""Ours beside vLLM on this machine: answers to prompts with one long beginning, and choices after them.

Both compute the same token ids in bfloat16, one after the other; vLLM's server is stopped while nothing is asked of it.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.generation import NEW_TOKENS
from benchmarks.row import REPEATS, Row, timed
from benchmarks.setting import SHOTS, home_prompts
from harness import Model
from harness.environments import VLLM_VERSION
from harness.errors import MissingPackage
from harness.inference.local.engine import open_engine as open_ours
from harness.inference.vllm.engine import open_engine as open_vllm
from harness.runner.context import SilentProgress
from harness.types.protocols import Engine
from harness.types.samples import Decoding, Messages

OURS = Model("smollm2-135m-instruct", dtype="bfloat16")
THEIRS = Model("smollm2-135m-instruct", dtype="bfloat16", engine="vllm")
PROMPTS = 32
LABELS = tuple(
    f"{verb} {thing}"
    for verb in ("turn on", "turn off", "open", "close", "dim")
    for thing in ("the light", "the blinds in the kitchen", "the garage door", "the fan")
)
_CHOOSING = 8
_THEIRS_CHOOSING = 2


def rows() -> Iterator[Row]:
    try:
        theirs = open_vllm(THEIRS, progress=SilentProgress())
    except MissingPackage as missing:
        sys.stdout.write(f"vllm: skipped: {missing}\n")
        return
    # Each repeat has prompts of its own: asked again, they would stand in vLLM's prefix cache whole.
    warm, *rounds = _rounds()
    few = rounds[0][:_THEIRS_CHOOSING]
    try:
        _texts(theirs, warm)  # compiles, and leaves the shared beginning in the prefix cache
        spoken = [timed(partial(_texts, theirs, prompts), repeats=1) for prompts in rounds]
        chosen = timed(lambda: _logprobs(theirs, few), repeats=1)
        theirs.shares = False
        echoed = timed(lambda: _logprobs(theirs, few), repeats=1)
    finally:
        theirs.close()
    ours = open_ours(OURS, progress=SilentProgress())
    _texts(ours, warm)
    yield _generation([timed(partial(_texts, ours, prompts), repeats=1) for prompts in rounds], spoken)
    mine = timed(lambda: _logprobs(ours, rounds[0][:_CHOOSING]), repeats=1)
    ours.close()
    yield _choices("echoed prompts, as lm-eval asks", mine, echoed, target=10.0)
    yield _choices('engine="vllm", a tree of next tokens in the prefix cache', mine, chosen, target=None)


def _rounds() -> list[list[Messages]]:
    prompts = home_prompts(1 + PROMPTS * REPEATS)
    return [prompts[:1], *(prompts[1 + PROMPTS * at :][:PROMPTS] for at in range(REPEATS))]


Weighed = tuple[tuple[float, ...], list[float]]
Spoken = tuple[tuple[float, ...], list[tuple[str, int]]]


def _generation(ours: list[Spoken], theirs: list[Spoken]) -> Row:
    mine, other = (
        [seconds / sum(count for _, count in found) for (seconds,), found in side] for side in (ours, theirs)
    )
    pairs = [pair for one, two in zip(ours, theirs, strict=True) for pair in zip(one[1], two[1], strict=True)]
    same = sum(one[0] == two[0] for one, two in pairs)
    return Row(
        work=f"generation in bfloat16, {PROMPTS} prompts at once, {SHOTS} shots, up to {NEW_TOKENS} new tokens",
        against=f"vLLM {VLLM_VERSION}, prefix cache on",
        ours=tuple(mine),
        theirs=tuple(other),
        equal=f"same text {same} of {len(pairs)}",
        target=1.0,
        note=f"new tokens a second: ours {1 / min(mine):.0f}, vLLM {1 / min(other):.0f}; near ties part in 16 bits",
    )


def _choices(how: str, ours: Weighed, theirs: Weighed, *, target: float | None) -> Row:
    worst = max(abs(one - other) for one, other in zip(ours[1], theirs[1], strict=False))
    count, labels = len(theirs[1]) // len(LABELS), len(LABELS)
    best = [[_best(values[at * labels : (at + 1) * labels]) for at in range(count)] for _, values in (ours, theirs)]
    same = sum(one == other for one, other in zip(*best, strict=True))
    return Row(
        work=f"{labels} choices, {SHOTS} shots, bfloat16, a sample of {_CHOOSING}",
        against=f"vLLM {VLLM_VERSION}, {how}, a sample of {count}",
        ours=tuple(seconds / _CHOOSING for seconds in ours[0]),
        theirs=tuple(seconds / count for seconds in theirs[0]),
        equal=f"same choice {same} of {count}; log-likelihoods within {worst:.2f}",
        target=target,
    )


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _texts(engine: Engine, prompts: Sequence[Messages]) -> list[tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    for places, batch in engine.generate(prompts, Decoding(max_tokens=NEW_TOKENS)):
        found |= {place: (item.text, item.tokens_out) for place, item in zip(places, batch, strict=True)}
    return [found[place] for place in range(len(prompts))]


def _logprobs(engine: Engine, prompts: Sequence[Messages]) -> list[float]:
    requests = [(prompt, label) for prompt in prompts for label in LABELS]
    found: dict[int, float] = {}
    for places, batch in engine.likelihoods(requests):
        found |= {place: item.logprob for place, item in zip(places, batch, strict=True)}
    return [found[place] for place in range(len(requests))]
