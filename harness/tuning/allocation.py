"""Training that goes on where the memory does not hold a micro-batch: half of it at once, twice as often."""

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from harness.errors import StageFailed
from harness.jobs import TuneJob, TuneResult
from harness.protocols import Progress
from harness.recipes import Trained
from harness.samples import Check
from harness.weights.hardware import is_out_of_memory

_REMEMBERED = "micro_batch.json"


def within_memory(job: TuneJob, train: Callable[[TuneJob], TuneResult], *, progress: Progress) -> TuneResult:
    """Return `train(job)`; each time the memory is exhausted it is called again with half the examples in memory.

    The effective batch stays as declared. Training goes on from the last checkpoint in `job.folder`, which also
    remembers the size that fitted, so that a resumed run does not meet the same wall.

    Raises StageFailed where one example alone does not fit.
    """
    recipe = job.recipe
    assert isinstance(recipe, Trained)
    declared = recipe.micro_batch_size or recipe.batch_size
    micro = _remembered(job.folder, declared)
    while True:
        try:
            now = recipe if micro == declared else replace(recipe, micro_batch_size=micro)
            result = train(replace(job, recipe=now))
            break
        except RuntimeError as error:
            smaller = _half(recipe, micro, error)
        # Outside the handler, so that what the failed step held is freed before the next begins.
        _free()
        progress.say(f"{micro} examples at once do not fit the memory: going on with {smaller}, as many a step")
        micro = smaller
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / _REMEMBERED).write_text(json.dumps({"micro_batch_size": micro}), encoding="utf-8")
    (job.folder / _REMEMBERED).unlink(missing_ok=True)
    return result if micro == declared else _told(result, recipe, declared=declared, micro=micro)


def _half(recipe: Trained, micro: int, error: RuntimeError) -> int:
    """Return the next smaller micro-batch; the error goes on where it is another one, or nothing is smaller."""
    if not is_out_of_memory(error):
        raise error
    if micro == 1:
        raise StageFailed(
            f"one example alone does not fit the memory ({str(error).splitlines()[0]}); lower max_length (now "
            f"{recipe.max_length or 'the context'}), or train fewer weights: adapter=LoRA(), or QLoRA() for a base "
            "in 4 bits"
        ) from error
    return next(size for size in range(micro // 2, 0, -1) if recipe.batch_size % size == 0)


def _told(result: TuneResult, recipe: Trained, *, declared: int, micro: int) -> TuneResult:
    detail = (
        f"{declared} examples at once did not fit the memory; trained {micro} at a time, "
        f"{recipe.batch_size // micro} times a step: the batch is {recipe.batch_size} as declared"
    )
    return replace(
        result,
        checks=(*result.checks, Check(name="memory", status="warning", detail=detail)),
        environment={**result.environment, "micro_batch_size": micro, "micro_batch_declared": declared},
    )


def _remembered(folder: Path, declared: int) -> int:
    try:
        return min(declared, int(json.loads((folder / _REMEMBERED).read_text(encoding="utf-8"))["micro_batch_size"]))
    except (OSError, ValueError, KeyError):
        return declared


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
