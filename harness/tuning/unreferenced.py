"""TRL's trainers of pairs that have no reference, on ready rows."""

from typing import Any

import torch

from harness.tuning.precision import Precision
from harness.tuning.preferences import scored
from harness.tuning.trl_trainers import Unpublished


class UnreferencedRows(Unpublished):
    """Beside a trainer without a reference: rows are token ids, and the losses are those of the answers' tokens."""

    def __init__(self, *, precision: Precision, **arguments: Any) -> None:
        self._precision = precision
        super().__init__(**arguments)

    def tokenize_row(self, feature: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        """Leave the row as it is."""
        return feature

    def concatenated_forward(self, model: Any, batch: Any) -> tuple[torch.Tensor, ...]:
        """Return mean log-probabilities a token of chosen and rejected answers, their logits, and the chosen's loss."""
        return answer_means(model, batch, self._precision)


def answer_means(model: Any, batch: Any, precision: Precision) -> tuple[torch.Tensor, ...]:
    """Return what TRL's losses without a reference take.

    Mean log-probability of an answer's token for the chosen and for the rejected rows, (pairs,) each; the logits of
    their tokens; and the mean loss of the chosen answers' tokens. TRL's own count the prompt's tokens in the last.
    """
    with precision.computing():
        found = scored(model, batch)
    pairs = len(found.sums) // 2
    means, chosen = found.sums / found.tokens, found.owner < pairs
    return (
        means[:pairs],
        means[pairs:],
        found.logits[chosen],
        found.logits[~chosen],
        -found.each[chosen].mean(),
    )
