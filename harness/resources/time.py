"""How long training will take, roughly: its operations over the rate at which this machine multiplies matrices."""

import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from harness.fingerprint import cache_folder
from harness.recipes import DPO, GRPO, KTO, ORPO, PPO, RLOO, RewardModel, Trained
from harness.recipes.adapters import Adapter
from harness.resources.machine import Machine
from harness.resources.memory import devices_of
from harness.types.shapes import ModelShape

_SIDE = 768
_SECONDS = 0.3
# bfloat16 products over float32's on CPUs that have them, and what a GPU's tensor cores reach in practice.
_BFLOAT16 = 2.4
_GPU_RATE = 100e12
# Training keeps between these shares of the rate of a large product busy (docs/methods.md).
_SHARES = (0.2, 1.0)
# And between these of the rate at which the same model reads rows.
_READING_SHARES = (0.4, 1.2)
# A drawn token reads every weight for two operations each: far from what a large product reaches.
_DRAWING = 10.0
# Evaluations of a recipe that does not say how often.
_EVALUATIONS = 10
# Seconds a row of a method over those of supervised training: two answers, passes of a reference, no packed batches.
_METHODS: dict[type[Trained], float] = {DPO: 5.0, ORPO: 3.0, KTO: 12.0, RewardModel: 3.0}
# Seconds at most for what goes before and after: loading, the base's answers, saving, looking at what was saved.
_AROUND = 20.0


@dataclass(frozen=True, slots=True)
class Duration:
    """A range in seconds; the truth lies in it as long as nothing else keeps the machine busy."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPace:
    """How fast this machine computes.

    Args:
        rate: Float32 operations a second in a large product.
        reading: Operations a second of the very model while it reads rows, None if that was not timed.
    """

    rate: float
    reading: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is trained on.

    Args:
        rows: Examples.
        length: Tokens of the longest.
        mean: Tokens of a row on average, None if all are the longest.
        answer: Learned tokens of a row.
        dev: Examples of an evaluation, where the recipe does not ask for fewer.
        quantize: "nf4" where the model answers in 4 bits.
    """

    rows: int
    length: int
    mean: float | None = None
    answer: int = 64
    dev: int = 100
    quantize: Literal["nf4"] | None = None


def operations(shape: ModelShape, adapter: Adapter, *, tokens: int) -> float:
    """Return the floating-point operations of training on `tokens`: forward 2 a weight, backward 2, and 2 more
    for the gradient of the weights where all are trained.

    Source: Kaplan et al., Scaling Laws for Neural Language Models (2020), section 2.1.
    """
    return (6.0 if adapter.whole else 4.0) * shape.parameters * tokens


def duration_text(shape: ModelShape, recipe: Trained, machine: Machine, work: Work, *, pace: TrainingPace) -> Duration:
    """Return how long training takes, with its evaluations; a drawn answer may end as a known one, or at its limit."""
    rows, dev, mean = work.rows, work.dev, work.mean or work.length
    seen = min(rows, recipe.limit or rows) * recipe.epochs
    evaluated = min(dev, recipe.evaluate_on or dev) * _evaluations(recipe, seen)
    trained = operations(shape, recipe.adapter, tokens=round(seen * mean)) * recipe.adapter.step_cost
    trained *= _METHODS.get(type(recipe), 1.0)
    shortest = longest = 0.0
    if isinstance(recipe, GRPO | RLOO | PPO):
        generations, passes = (1, recipe.passes) if isinstance(recipe, PPO) else (recipe.generations, 1)
        trained *= generations * passes
        a_token = 2 * shape.parameters * seen * generations * _DRAWING
        most_tokens = recipe.max_tokens or work.length
        shortest, longest = a_token * min(work.answer, most_tokens), a_token * most_tokens
    if machine.kind == "gpu":
        trained /= devices_of(recipe)  # on a CPU they share its cores
    trained += 2 * shape.parameters * evaluated * mean
    fast = _GPU_RATE if machine.kind == "gpu" else pace.rate * (_BFLOAT16 if machine.bfloat16 else 1.0)
    least, most = (share * fast for share in _SHARES)
    slowest, fastest = (least, most) if pace.reading is None else (share * pace.reading for share in _READING_SHARES)
    trials = recipe.trials or 1
    return Duration(
        trials * (trained / fastest + shortest / most),
        trials * (trained / slowest + longest / least + _AROUND),
    )


def _evaluations(recipe: Trained, seen: float) -> float:
    return _EVALUATIONS if recipe.evaluate_every is None else seen / recipe.batch_size / recipe.evaluate_every


def reading_rate(shape: ModelShape, *, tokens: float, seconds: float) -> float:
    """Return the operations a second of a model that read `tokens` in `seconds`."""
    return 2 * shape.parameters * tokens / max(seconds, 1e-9)


def measured_rate() -> float:
    """Return how many float32 operations a second this CPU does in a product of matrices.

    Measured in a third of a second and kept if it is the best so far: a busy machine only ever looks slower.
    """
    kept = cache_folder() / "speed" / f"{platform.node() or 'here'}.json"
    try:
        known = float(json.loads(kept.read_text(encoding="utf-8"))["operations_per_second"])
    except (OSError, ValueError, KeyError):
        known = 0.0
    rate = _measure()
    if rate > known:
        kept.parent.mkdir(parents=True, exist_ok=True)
        _write(kept, rate)
    return max(rate, known)


def _measure() -> float:
    left = np.ones((_SIDE, _SIDE), dtype=np.float32)
    best, began = 0.0, time.monotonic()
    while time.monotonic() - began < _SECONDS:
        start = time.perf_counter()
        left @ left
        best = max(best, 2 * _SIDE**3 / (time.perf_counter() - start))
    return best


def _write(path: Path, rate: float) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"operations_per_second": rate}), encoding="utf-8")
    unfinished.rename(path)
