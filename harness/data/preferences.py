"""Rows that prefer: two answers to one prompt, or one answer with a vote, in the shapes in which such data comes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.fields import present
from harness.data.files import read_file, read_rows
from harness.data.reading import ReadRow, read, read_files, refuse_unreadable
from harness.data.reading_checks import COLUMNS_READ, NOT_READ, reading_checks
from harness.data.row import Row
from harness.data.shapes import Columns
from harness.errors import InvalidData
from harness.samples import Check, Messages

_COLUMNS = Columns(naming="rename the columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """One preference row. text: the prompt as one text. messages: the conversation where it gave one, else empty."""

    id: str
    text: str
    messages: Messages
    chosen: str
    rejected: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
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

    Raises InvalidData naming file, row, field and what is wrong with it.
    """
    return pairs_of_rows(read_rows(path))


def read_votes(path: str | Path) -> tuple[Voted, ...]:
    """Return the votes of a file: of rows with a label, or of preference rows, a good and a bad one each.

    Raises InvalidData naming file, row, field and what is wrong with it.
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
        found.append(
            Voted(
                id=sample.id,
                text=sample.input,
                messages=sample.messages,
                answer=sample.reference,
                good=one.good,
                where=one.row.where,
            )
        )
    return tuple(found)


def votes_of_pair(pair: Preferred) -> tuple[Voted, Voted]:
    """Return a pair's answers, the good one and the bad one."""
    return (
        Voted(
            id=f"{pair.id} chosen",
            text=pair.text,
            messages=pair.messages,
            answer=pair.chosen,
            good=True,
            where=pair.where,
        ),
        Voted(
            id=f"{pair.id} rejected",
            text=pair.text,
            messages=pair.messages,
            answer=pair.rejected,
            good=False,
            where=pair.where,
        ),
    )


def _read(rows: Sequence[Row]) -> tuple[ReadRow, ...]:
    reading = read(rows, _COLUMNS)
    refuse_unreadable(reading, "")
    return reading.rows


def _preferred(one: ReadRow) -> Preferred:
    sample = one.samples[-1]
    assert sample.rejected is not None  # a row with two answers has a worse one
    return Preferred(
        id=sample.id,
        text=sample.input,
        messages=sample.messages,
        chosen=sample.reference,
        rejected=sample.rejected,
        where=one.row.where,
    )


def _no_vote(one: ReadRow) -> InvalidData:
    there = [name for name in ("label", "kto_tag", "score", "rating") if name in one.row.values]
    fact = f"field {there[0]!r} is {one.row.values[there[0]]!r}" if there else "field 'label' is missing"
    return InvalidData(f"{one.row.where}: {fact}; write true for a good answer, false for a bad one")
