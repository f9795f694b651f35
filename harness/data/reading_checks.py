"""What reading the rows found, as checks of the data: shown on the page of a run and by `harness data check`."""

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.data.reading import Reading
from harness.data.row import Note, Unreadable, listed
from harness.samples import Check

# Above it what is left out of the holdout may turn the verdict: hard rows are the ones that do not read.
_TOLERATED_SHARE = 0.05
_SHOWN = 8
_LISTED = 100

COLUMNS_READ, NOT_READ, LEFT_OUT = "columns read", "columns not read", "rows left out"


def reading_checks(readings: Mapping[str, Reading]) -> tuple[Check, ...]:
    """Return the checks of what was read, by split or for "all splits"; those on what did not occur are left out."""
    there = {split: reading for split, reading in readings.items() if reading.total}
    found = [_columns_read(list(there.values()))] if any(reading.rows for reading in there.values()) else []
    notes = [note for reading in there.values() for note in reading.notes]
    found += [_files(notes)] if notes else []
    found += [_not_read(list(there.values()))] if any(reading.not_read for reading in there.values()) else []
    found += [_left_out(there)] if any(reading.left_out for reading in there.values()) else []
    found += [_votes(there)] if any(_votes_of(reading) for reading in there.values()) else []
    found += [_media(there)] if any(reading.past_media for reading in there.values()) else []
    return tuple(found)


def unreadable_lines(left_out: Sequence[Unreadable]) -> list[str]:
    """Return the first rows that could not be read, with their reasons, and how many more there are."""
    lines = [one.reason for one in left_out[:_SHOWN]]
    more = len(left_out) - len(lines)
    return [*lines, f"and {more:,} more"] if more > 0 else lines


def columns_lines(reading: Reading) -> list[str]:
    """Return how many rows were read as what, the commonest shape first."""
    return [
        f"{count:,} rows of format {form}: {columns}" + (", guessed from the names" if guessed else "")
        for (form, columns, guessed), count in reading.shapes.most_common()
    ]


def _columns_read(readings: Sequence[Reading]) -> Check:
    shapes = sum((reading.shapes for reading in readings), Counter[tuple[str, str, bool]]())
    shown = [f"{count:,} rows {columns}" for (_, columns, _), count in shapes.most_common(_SHOWN)]
    detail = "; ".join(shown)
    if any(guessed for _, _, guessed in shapes):
        detail += "; guessed from the names of the columns: input_column= and reference_column= say it for certain"
    several = sum(reading.several for reading in readings)
    if several:
        detail += f"; {several:,} rows accept several answers, and the first is the reference"
    numbered = next((reading.numbered for reading in readings if reading.numbered), "")
    if numbered:
        detail += f"; the labels in {numbered!r} are numbers: label_names= gives them the names that a model can know"
    return Check(name=COLUMNS_READ, status="ok", detail=detail, kind="data")


def _files(notes: Sequence[Note]) -> Check:
    lost = any(note.kind in ("left_out", "replaced") for note in notes)
    shown = "; ".join(note.line for note in notes[:_SHOWN])
    more = len(notes) - _SHOWN
    return Check(
        name="files as read",
        status="warning" if lost else "ok",
        detail=f"{shown}; and {more:,} more" if more > 0 else shown,
        items=tuple({"file": note.source, "note": note.text} for note in notes[:_LISTED]),
        kind="data",
    )


def _not_read(readings: Sequence[Reading]) -> Check:
    names = sum((reading.not_read for reading in readings), Counter[str]())
    detail = f"no reader uses {listed(names, most=_LISTED)}"
    wordy = list(dict.fromkeys(name for reading in readings for name in reading.wordy))
    if wordy:
        detail += f"; {listed(wordy)} may belong to the question: put the text into the column that is read"
    degrees = next((reading.degrees for reading in readings if reading.degrees), "")
    if degrees:
        detail += (
            f"; {degrees!r} may say how good the answers are, and every answer is a reference whatever it says: keep "
            "the rows with good answers, or write true or false into a column 'label'"
        )
    items = tuple({"column": name, "rows": rows} for name, rows in names.most_common())
    return Check(name=NOT_READ, status="warning" if wordy or degrees else "ok", detail=detail, items=items, kind="data")


def _left_out(readings: Mapping[str, Reading]) -> Check:
    counts = [
        f"{len(reading.left_out):,} of {reading.total:,} rows of {split}"
        for split, reading in readings.items()
        if reading.left_out
    ]
    judged = [readings[split] for split in ("holdout", "all splits") if split in readings]
    turns = any(len(reading.left_out) > _TOLERATED_SHARE * reading.total for reading in judged)
    left_out = [one for reading in readings.values() for one in reading.left_out]
    first = left_out[0].reason
    way_out = (
        f"; more than {_TOLERATED_SHARE:.0%} of what decides the verdict is missing, and the missing rows may be the "
        "hard ones: mend them, or take them out of the file"
        if turns
        else ""
    )
    return Check(
        name=LEFT_OUT,
        status="invalid" if turns else "warning",
        detail=f"{', '.join(counts)} cannot be read and are left out; first: {first}{way_out}",
        items=tuple({"row": one.where, "reason": one.reason} for one in left_out[:_LISTED]),
        kind="data",
    )


def _votes_of(reading: Reading) -> int:
    return sum(one.good is not None for one in reading.rows)


def _votes(readings: Mapping[str, Reading]) -> Check:
    bad, votes = sum(one.bad for one in readings.values()), sum(map(_votes_of, readings.values()))
    if not bad:
        return Check(name="answers voted bad", status="ok", detail=f"none of {votes:,} answers with votes", kind="data")
    detail = f"{bad:,} of {votes:,} answers with votes: none of them is a reference"
    kept = sum(reading.kept_as_rejected for reading in readings.values())
    if kept:
        detail += f", {kept:,} of them kept as the worse answer beside a good one"
    if bad > kept:
        detail += "; KTO(votes=FILE) learns from all of them"
    return Check(name="answers voted bad", status="warning", detail=detail, kind="data")


def _media(readings: Mapping[str, Reading]) -> Check:
    counts = [
        f"{reading.past_media:,} of {reading.total:,} rows of {split}"
        for split, reading in readings.items()
        if reading.past_media
    ]
    detail = f"{', '.join(counts)} were read without their pictures, sounds or films: what asks for them has no answer"
    return Check(name="text alone", status="warning", detail=detail, kind="data")
