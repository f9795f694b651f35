"""The trainer's log history, which a checkpoint carries, as values of a training log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from harness.jobs import LogPoint

_NAMES = {
    "loss": "loss",
    "eval_loss": "dev_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "num_input_tokens_seen": "tokens",
    "step_seconds": "seconds",
    "memory": "memory",
}

# Seconds since training began, those of interrupted processes included.
ELAPSED = "elapsed_seconds"

History = Sequence[dict[str, Any]]


def log_points(history: History, also: Mapping[str, str] = MappingProxyType({})) -> tuple[LogPoint, ...]:
    """Return the values of each step in order; tokens are counted from the start of training, padding left out.

    also: what a method logs besides, key of the trainer -> name in the training log.
    """
    known = {**_NAMES, **also}
    points = []
    for entry in history:
        evaluated = any(key.startswith("eval_") for key in entry)
        if "loss" not in entry and not evaluated:
            continue  # the trainer's closing summary
        for key, name in known.items():
            if key in entry and key.startswith("eval_") == evaluated:
                points.append(
                    LogPoint(step=entry["step"], epoch=float(entry["epoch"]), name=name, value=float(entry[key]))
                )
    return tuple(points)


def train_losses(history: History) -> list[float]:
    """Return the training loss of each step."""
    return [float(entry["loss"]) for entry in history if "loss" in entry]


@dataclass(frozen=True, slots=True)
class Goal:
    """What chooses the checkpoint: a value of the evaluations, and whether a higher one is better."""

    key: str = "eval_loss"
    higher: bool = False

    def points(self, history: History) -> list[tuple[int, float]]:
        """Return (step, value) of each evaluation."""
        return [(int(entry["step"]), float(entry[self.key])) for entry in history if self.key in entry]

    def best(self, history: History) -> tuple[int, float] | None:
        """Return (step, value) of the best evaluation, the first of equal ones; None where there was none."""
        points = self.points(history)
        sign = -1 if self.higher else 1
        return min(points, key=lambda point: sign * point[1]) if points else None

    def out_of_patience(self, history: History, patience: int | None) -> bool:
        """Tell whether the last `patience` evaluations brought nothing better.

        Read from the stored history, so that a resumed run stops where an undisturbed one does.
        """
        best = self.best(history)
        if patience is None or best is None:
            return False
        return sum(step > best[0] for step, _ in self.points(history)) >= patience


def elapsed(history: History) -> float:
    """Return the seconds of training up to the last entry, those of interrupted processes included."""
    return max((float(entry[ELAPSED]) for entry in history if ELAPSED in entry), default=0.0)


def last_tokens(history: History) -> int:
    """Return how many tokens were trained on, prompts included."""
    seen = [int(entry["num_input_tokens_seen"]) for entry in history if "num_input_tokens_seen" in entry]
    return seen[-1] if seen else 0
