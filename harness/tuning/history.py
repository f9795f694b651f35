"""The trainer's log history, which a checkpoint carries, as values of a training log."""

from collections.abc import Sequence
from typing import Any

from harness.protocols import LogPoint

_NAMES = {
    "loss": "loss",
    "eval_loss": "dev_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "num_input_tokens_seen": "tokens",
}

History = Sequence[dict[str, Any]]


def log_points(history: History) -> tuple[LogPoint, ...]:
    """Return the values of each step in order; tokens are counted from the start of training, padding left out."""
    points = []
    for entry in history:
        if "loss" not in entry and "eval_loss" not in entry:
            continue  # the trainer's closing summary
        names = {"eval_loss": "dev_loss"} if "eval_loss" in entry else _NAMES
        for key, name in names.items():
            if key in entry:
                points.append(
                    LogPoint(step=entry["step"], epoch=float(entry["epoch"]), name=name, value=float(entry[key]))
                )
    return tuple(points)


def train_losses(history: History) -> list[float]:
    """Return the training loss of each step."""
    return [float(entry["loss"]) for entry in history if "loss" in entry]


def dev_losses(history: History) -> list[tuple[int, float]]:
    """Return (step, dev loss) of each evaluation."""
    return [(int(entry["step"]), float(entry["eval_loss"])) for entry in history if "eval_loss" in entry]


def last_tokens(history: History) -> int:
    """Return how many tokens were trained on, prompts included."""
    seen = [int(entry["num_input_tokens_seen"]) for entry in history if "num_input_tokens_seen" in entry]
    return seen[-1] if seen else 0
