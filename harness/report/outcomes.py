"""Stored scores of one sample -> what changed between the chosen baseline and the tuned system."""

from collections.abc import Sequence
from typing import Literal

Outcome = Literal["regressed", "improved", "both_wrong", "both_right", "same", "wrong", "right", "unscored"]

# In reading order: what tuning broke first.
LABELS: dict[Outcome, str] = {
    "regressed": "Regressed",
    "improved": "Improved",
    "both_wrong": "Both wrong",
    "both_right": "Both right",
    "same": "Same score",
    "wrong": "Wrong",
    "right": "Right",
    "unscored": "Not scored",
}


def is_binary(scores: Sequence[float]) -> bool:
    """Say whether every score is 0 or 1, so that an answer is right or wrong."""
    return bool(scores) and all(score in (0.0, 1.0) for score in scores)


def compare_outcome(baseline: Sequence[float], tuned: Sequence[float], *, better: str, binary: bool) -> Outcome:
    """Return how the tuned scores of one sample (one a seed) stand against the baseline's.

    With several seeds the share of right answers is compared, so one lost seed of three is a regression.
    """
    if not baseline or not tuned:
        return "unscored"
    before, after = sum(baseline) / len(baseline), sum(tuned) / len(tuned)
    if before != after:
        return "improved" if (after > before) == (better == "higher") else "regressed"
    if not binary or before not in (0.0, 1.0):
        return "same"
    return "both_right" if is_right(before, better=better) else "both_wrong"


def single_outcome(scores: Sequence[float], *, better: str, binary: bool) -> Outcome:
    """Return how one system alone did on one sample: all its answers right, or not."""
    if not scores or not binary:
        return "unscored" if not scores else "same"
    return "right" if all(is_right(score, better=better) for score in scores) else "wrong"


def is_right(score: float, *, better: str) -> bool:
    return score == (0.0 if better == "lower" else 1.0)
