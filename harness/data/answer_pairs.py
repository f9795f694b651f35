"""Pairs made from answers that were scored: of each sample, the best answer against the worst."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer:
    """One stored answer. question: the sample's text. score: by one metric, the same for all."""

    split: str
    sample_id: str
    question: str
    system: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class MadePairs:
    """Rows of a preference file, and of how many samples nothing could be made, by reason."""

    rows: tuple[dict[str, object], ...]
    samples: int
    ties: int
    single: int
    equal: int

    def lines(self) -> Iterator[str]:
        """Yield what was made and what was left out."""
        yield f"{len(self.rows):,} pairs of {self.samples:,} samples"
        reasons = (
            (self.single, "with one answer only"),
            (self.equal, "whose best and worst answer are the same text, or one of them empty"),
            (self.ties, "whose best answer is not better than the worst by more than the margin"),
        )
        for count, reason in reasons:
            if count:
                yield f"left out: {count:,} samples {reason}"


def pairs_from(
    answers: Sequence[ScoredAnswer], *, better: Literal["higher", "lower"], margin: float, metric: str
) -> MadePairs:
    """Return a pair for each sample whose best and worst answers differ by more than `margin` score units.

    Of equally good answers the first is taken, of equally bad ones the last.
    """
    sign = 1 if better == "higher" else -1
    ordered = sorted(answers, key=lambda answer: (answer.split, answer.sample_id))
    rows, samples, left = [], 0, {"ties": 0, "single": 0, "equal": 0}
    for _, group in groupby(ordered, key=lambda answer: (answer.split, answer.sample_id)):
        found = sorted(group, key=lambda answer: -sign * answer.score)
        best, worst = found[0], found[-1]
        samples += 1
        reason = _reason(found, distance=sign * (best.score - worst.score), margin=margin)
        if reason is None:
            rows.append(_row(best, worst, metric))
        else:
            left[reason] += 1
    return MadePairs(tuple(rows), samples, **left)


def _reason(found: Sequence[ScoredAnswer], *, distance: float, margin: float) -> str | None:
    """Return why a sample gives no pair, None where it gives one."""
    if len(found) < 2:
        return "single"
    if distance <= margin:
        return "ties"
    best, worst = found[0].text.strip(), found[-1].text.strip()
    return "equal" if best == worst or not best or not worst else None


def _row(best: ScoredAnswer, worst: ScoredAnswer, metric: str) -> dict[str, object]:
    return {
        "id": best.sample_id,
        "prompt": best.question,
        "chosen": best.text,
        "rejected": worst.text,
        "split": best.split,
        "metric": metric,
        "chosen_system": best.system,
        "chosen_score": best.score,
        "rejected_system": worst.system,
        "rejected_score": worst.score,
    }
