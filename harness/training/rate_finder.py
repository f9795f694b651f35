"""The learning-rate range test: train a copy while the rate rises, and see where the loss falls and where it breaks."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.recipes import Trained
from harness.training.callbacks import train_losses
from harness.types.samples import Check

_STEPS = 60
# The test begins this much below the adapter's range and ends as much above it.
_WIDER = 10.0
# Weight of the past in the smoothed loss, and how far above its lowest point it may rise before the test ends.
_PAST = 0.7
_BROKEN = 2.0
# The rate at the lowest loss is about to break; the usual advice is a tenth of it.
_SAFE = 0.1
_REMEMBERED = "learning_rate.json"


@dataclass(frozen=True, slots=True)
class RateCurve:
    """points: (learning rate, smoothed loss) of each step. suggested: a tenth of the rate at the lowest loss.

    Args:
        low, high: The range in which the suggestion is kept. Source: Smith, Cyclical Learning Rates for Training
            Neural Networks (2017), section 3.3.
    """

    points: tuple[tuple[float, float], ...]
    suggested: float
    low: float
    high: float

    def check(self) -> Check:
        """Return the suggestion with its evidence, as the record of the run keeps it."""
        rate, loss = min(self.points, key=lambda point: point[1])
        detail = (
            f"the range test suggests {self.suggested:.3g}: from {self.points[0][0]:.2g} to {self.points[-1][0]:.2g} "
            f"the loss is lowest, {loss:.3g}, at {rate:.3g}; a tenth of that, within {self.low:g} to {self.high:g}"
        )
        return Check(name="learning rate", status="ok", detail=detail, items=tuple(map(list, self.points)))


def range_test(trainer: Any, recipe: Trained, *, folder: Path) -> RateCurve:
    """Return the curve that `trainer`, whose network is used up by it, draws; it is kept in `folder`.

    The rate rises by the same factor each step, from a tenth of the adapter's range to ten times it.
    """
    low, high = recipe.rates
    trainer.args.max_steps, trainer.args.save_strategy = _STEPS, "no"
    rising = _Rising(low / _WIDER, high * _WIDER)
    trainer.add_callback(rising)
    trainer.train()
    curve = suggest(rising.rates, train_losses(trainer.state.log_history), low=low, high=high)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _REMEMBERED).write_text(
        json.dumps({"points": curve.points, "suggested": curve.suggested, "low": low, "high": high}), encoding="utf-8"
    )
    return curve


def remembered(folder: Path) -> RateCurve | None:
    """Return the curve of an interrupted run in `folder`, so that it goes on with the same rate."""
    try:
        read = json.loads((folder / _REMEMBERED).read_text(encoding="utf-8"))
        return RateCurve(tuple((rate, loss) for rate, loss in read["points"]), **{k: read[k] for k in _NUMBERS})
    except (OSError, ValueError, KeyError):
        return None


_NUMBERS = ("suggested", "low", "high")


def suggest(rates: Sequence[float], losses: Sequence[float], *, low: float, high: float) -> RateCurve:
    """Return the smoothed curve and its suggestion; losses that are not finite end it.

    The average forgets by 0.7 a step and is corrected for its start, as Adam's moments are.
    """
    points: list[tuple[float, float]] = []
    past = 0.0
    for step, (rate, loss) in enumerate(zip(rates, losses, strict=False), start=1):
        if not math.isfinite(loss):
            break
        past = _PAST * past + (1 - _PAST) * loss
        points.append((rate, past / (1 - _PAST**step)))
    if not points:
        return RateCurve(((low, math.inf),), low, low, high)
    best = min(points, key=lambda point: point[1])[0]
    return RateCurve(tuple(points), min(max(best * _SAFE, low), high), low, high)


class _Rising(TrainerCallback):  # type: ignore[misc]
    """Sets the rate before each update, and ends the test once the loss has broken away."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._factor = low, (high / low) ** (1 / (_STEPS - 1))
        self.rates: list[float] = []

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, optimizer: Any = None, **_: Any
    ) -> None:
        self.rates.append(self._low * self._factor**state.global_step)
        for group in optimizer.param_groups:
            group["lr"] = self.rates[-1]

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> TrainerControl:
        losses = train_losses(state.log_history)
        if losses and not losses[-1] < _BROKEN * min(losses[: max(1, len(losses) // 2)]) + 1:
            control.should_training_stop = True
        return control
