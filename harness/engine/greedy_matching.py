"""BERTScore's greedy matching: each token meets the most similar token of the other text.

Source: Zhang et al., BERTScore: Evaluating Text Generation with BERT (2020), section 3.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

# Similarities of one batch of pairs, and numbers of its padded states: 32 MB and 64 MB.
_CELLS_AT_ONCE, _NUMBERS_AT_ONCE = 8_000_000, 16_000_000


@dataclass(frozen=True, slots=True)
class Match:
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """One text. states: shape (time, width), of length 1 each. weights: shape (time,), 0 for special tokens."""

    states: torch.Tensor
    weights: torch.Tensor


def match(pairs: Sequence[tuple[str, str]], texts: Mapping[str, Weighed]) -> dict[tuple[str, str], Match]:
    """Return how each pair (answer, reference) matches. A text whose tokens all weigh 0 matches nothing: 0."""
    found = {}
    for batch in _batches(pairs, texts):
        answers, references = (_padded([texts[text] for text in side]) for side in zip(*batch, strict=True))
        values = _matched(answers, references).cpu().tolist()
        found.update({pair: Match(*numbers) for pair, numbers in zip(batch, values, strict=True)})
    return found


def _batches(pairs: Sequence[tuple[str, str]], texts: Mapping[str, Weighed]) -> Iterator[list[tuple[str, str]]]:
    """Yield pairs of like lengths. The text itself makes the order, and so the last digit, the same every time."""
    lengths = {pair: tuple(len(texts[text].weights) for text in pair) for pair in pairs}
    batch: list[tuple[str, str]] = []
    longest = [0, 0]
    for pair in sorted(pairs, key=lambda pair: (max(lengths[pair]), lengths[pair], pair)):
        widened = [max(sizes) for sizes in zip(longest, lengths[pair], strict=True)]
        width = texts[pair[0]].states.shape[1]
        count = len(batch) + 1
        too_large = count * widened[0] * widened[1] > _CELLS_AT_ONCE or count * max(widened) * width > _NUMBERS_AT_ONCE
        if batch and too_large:
            yield batch
            batch, widened = [], list(lengths[pair])
        batch.append(pair)
        longest = widened
    if batch:
        yield batch


def _padded(texts: Sequence[Weighed]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return states (batch, time, width), weights (batch, time) that sum to 1, and where tokens are (batch, time)."""
    states = pad_sequence([text.states for text in texts], batch_first=True)
    weights = pad_sequence([text.weights for text in texts], batch_first=True)
    real = pad_sequence([torch.ones_like(text.weights, dtype=torch.bool) for text in texts], batch_first=True)
    return states, weights / weights.sum(dim=1, keepdim=True), real


def _matched(
    answers: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    references: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return precision, recall and F1, shape (batch, 3)."""
    (said, said_weights, said_real), (meant, meant_weights, meant_real) = answers, references
    similar = said @ meant.transpose(1, 2)  # (batch, answer time, reference time)
    # Padding is never the best match; the package's is 0, so that there a match below 0 depends on the batch.
    best_of_said = similar.masked_fill(~meant_real[:, None, :], -2.0).amax(dim=2)
    best_of_meant = similar.masked_fill(~said_real[:, :, None], -2.0).amax(dim=1)
    precision = (best_of_said * said_weights).sum(dim=1)
    recall = (best_of_meant * meant_weights).sum(dim=1)
    f1 = 2 * precision * recall / (precision + recall)
    values = torch.stack([precision, recall, f1], dim=1)
    return torch.where(values.isfinite(), values, torch.zeros_like(values))
