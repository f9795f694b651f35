"""Rows that prefer: two answers to one prompt, or one answer with a vote, in the shapes in which such data comes.

Pairs made from answers that were scored: of each sample, the best answer against the worst.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from harness.data.checking import COLUMNS_READ, NOT_READ, reading_checks
from harness.data.column_roles import Columns
from harness.data.files.read import read_file, read_rows
from harness.data.files.row import Row
from harness.data.reading import ReadRow, read, read_files, refuse_unreadable
from harness.data.row_fields import present
from harness.errors import InvalidData
from harness.types.samples import Check, Messages

_COLUMNS = Columns(naming="rename the columns")


@dataclass(frozen=True, slots=True)
class Preferred:
    """One preference row. text: the prompt as one text. messages: the conversation if it gave one, else empty."""

    id: str
    text: str
    messages: Messages
    chosen: str
    rejected: str
    where: str


@dataclass(frozen=True, slots=True)
class Voted:
    """One answer with its vote. text, messages: as in `Preferred`."""

    id: str
    text: str
    messages: Messages
    answer: str
    good: bool
    where: str


def read_pairs(path: str | Path) -> tuple[Preferred, ...]:
    """Return the pairs of a file of preference rows.

    Raises:
        InvalidData: If a row cannot be used; the message names file, row, field and what is wrong with it.
    """
    return pairs_of_rows(read_rows(path))


def read_votes(path: str | Path) -> tuple[Voted, ...]:
    """Return the votes of a file: of rows with a label, or of preference rows, a good and a bad one each.

    Raises:
        InvalidData: If a row cannot be used; the message names file, row, field and what is wrong with it.
    """
    return votes_of_rows(read_rows(path))


def columns_checks(path: str | Path) -> tuple[Check, ...]:
    """Return the checks that say what was read of a file of pairs or votes, and which columns were not."""
    reading = read_files([read_file(path)], _COLUMNS)
    found = reading_checks({"preferences": reading})
    return tuple(
        replace(check, name=f"{check.name} of {path}") for check in found if check.name in (COLUMNS_READ, NOT_READ)
    )


def pairs_of_rows(rows: Sequence[Row]) -> tuple[Preferred, ...]:
    """Return the pair that each row holds."""
    found = []
    for one in _read(rows):
        if one.good is not None:
            raise InvalidData(
                f"{one.row.where}: is a vote on one answer, and pairs are asked for; KTO(votes=...) takes it"
            )
        if not one.shape.worse:
            present(one.row, "rejected")
        found.append(_preferred(one))
    return tuple(found)


def votes_of_rows(rows: Sequence[Row]) -> tuple[Voted, ...]:
    """Return the vote that each row holds, of a pair two."""
    found: list[Voted] = []
    for one in _read(rows):
        if one.shape.worse:
            found += votes_of_pair(_preferred(one))
            continue
        if one.good is None:
            raise _no_vote(one)
        sample = one.samples[-1]
        found.append(Voted(sample.id, sample.input, sample.messages, sample.reference, one.good, one.row.where))
    return tuple(found)


def votes_of_pair(pair: Preferred) -> tuple[Voted, Voted]:
    """Return a pair's answers, the good one and the bad one."""

    def vote(name: str, answer: str, good: bool) -> Voted:
        return Voted(f"{pair.id} {name}", pair.text, pair.messages, answer, good, pair.where)

    return vote("chosen", pair.chosen, True), vote("rejected", pair.rejected, False)


def _read(rows: Sequence[Row]) -> tuple[ReadRow, ...]:
    reading = read(rows, _COLUMNS)
    refuse_unreadable(reading, "")
    return reading.rows


def _preferred(one: ReadRow) -> Preferred:
    sample = one.samples[-1]
    assert sample.rejected is not None  # a row with two answers has a worse one
    return Preferred(sample.id, sample.input, sample.messages, sample.reference, sample.rejected, one.row.where)


def _no_vote(one: ReadRow) -> InvalidData:
    there = [name for name in ("label", "kto_tag", "score", "rating") if name in one.row.values]
    fact = f"field {there[0]!r} is {one.row.values[there[0]]!r}" if there else "field 'label' is missing"
    return InvalidData(f"{one.row.where}: {fact}; write true for a good answer, false for a bad one")


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
    """Return why a sample gives no pair, None if it gives one."""
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
