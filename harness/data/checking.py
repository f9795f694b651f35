"""What `harness data check FILE` says: is this file a data set, and what should be known before tuning on it?

What reading the rows found, as checks of the data: shown on the page of a run and by `harness data check`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.column_roles import Columns
from harness.data.files.read import read_file
from harness.data.files.row import Note, Unreadable, listed
from harness.data.reading import Reading, read_files, refuse_unreadable
from harness.data.text_similarity import normalised
from harness.types.samples import Check, Sample

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
    found += [_votes_dropped(there)] if any(_votes_of(reading) for reading in there.values()) else []
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


def _votes_dropped(readings: Mapping[str, Reading]) -> Check:
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


@dataclass(frozen=True)
class CheckedFile:
    """The rows of a file, and the findings, one a line."""

    reading: Reading
    lines: tuple[str, ...]


def check_file(path: Path, columns: Columns | None = None) -> CheckedFile:
    """Return what is in a file.

    Raises:
        InvalidData: If it cannot be read at all, or none of its rows can.
    """
    reading = read_files([read_file(path, keep_unreadable=True)], columns or Columns())
    if not reading.rows:
        refuse_unreadable(reading, "")
    return CheckedFile(reading, tuple(_lines(path, reading)))


def _lines(path: Path, reading: Reading) -> Iterator[str]:
    forms: Counter[str] = Counter()
    for (form, _, _), count in reading.shapes.items():
        forms[form] += count
    named = ", ".join(f"{form} ({count:,})" if len(forms) > 1 else form for form, count in forms.most_common())
    yield f"{path}: {reading.total:,} rows, format {named}"
    for note in reading.notes:
        yield f"file: {note.text}"
    yield from _columns(reading)
    for line in unreadable_lines(reading.left_out):
        yield f"cannot be read: {line}"
    if reading.left_out:
        yield (
            f"unreadable: {len(reading.left_out):,} of {reading.total:,} rows; a task stops at them, or leaves them "
            'out and counts them with on_error="skip"'
        )
    asked = [one.samples[-1] for one in reading.rows]
    characters = sorted(len(sample.input) + len(sample.reference) for sample in asked)
    yield f"lengths: {characters[len(characters) // 2]:,} characters at the median, {characters[-1]:,} at most"
    if any(one.good is not None for one in reading.rows):
        yield _votes(reading)
    else:
        yield from _contents(reading.samples)
    yield from _pairs(reading)


def _columns(reading: Reading) -> Iterator[str]:
    for line in columns_lines(reading):
        yield f"columns: {line}"
    if any(guessed for _, _, guessed in reading.shapes):
        yield "columns: name them with --input and --reference if that is not what they mean"
    if reading.numbered:
        yield f"labels: {reading.numbered!r} holds numbers; give them the names that a model can know: --label-names"
    if reading.several:
        yield f"answers: {reading.several:,} rows accept several, and the first is the reference"
    if reading.past_media:
        yield f"text alone: {reading.past_media:,} rows have pictures, sounds or films that are not read"
    if reading.not_read:
        names = ", ".join(f"{name!r} ({count:,} rows)" for name, count in reading.not_read.most_common())
        yield f"not read: {names}"
    if reading.wordy:
        yield f"not read: {listed(reading.wordy)} may belong to the question: put the text into the column that is read"
    if reading.degrees:
        yield (
            f"not read: {reading.degrees!r} may say how good the answers are; keep the rows with good ones, or write "
            "true or false into a column 'label'"
        )


def _contents(samples: Sequence[Sample]) -> Iterator[str]:
    texts = Counter(_asked(sample) for sample in samples)
    repeated = sum(count - 1 for count in texts.values())
    yield f"duplicates: {repeated:,} rows repeat an earlier input" + (" (take them out)" if repeated else "")
    answers: dict[tuple[str, ...], set[str]] = {}
    for sample in samples:
        answers.setdefault(_asked(sample), set()).add(sample.reference.strip())
    conflicts = [asked for asked, found in answers.items() if len(found) > 1]
    yield f"conflicts: {len(conflicts):,} inputs have more than one answer" + (
        f", first {conflicts[0][0][:60]!r}" if conflicts else ""
    )


def _asked(sample: Sample) -> tuple[str, ...]:
    """Return what is asked: the same words under another system message, or with other tools, are another question."""
    around = [turn.content for turn in sample.messages if turn.role == "system"]
    return normalised(sample.input), *around, *dict.fromkeys(turn.tools for turn in sample.messages if turn.tools)


def _pairs(reading: Reading) -> Iterator[str]:
    pairs = [one.samples[-1] for one in reading.rows if one.shape.worse]
    if pairs:
        same = sum(sample.reference == sample.rejected for sample in pairs)
        yield f"pairs: {same:,} of {len(pairs):,} have two equal answers" + (
            " (take them out: they prefer nothing)" if same else ""
        )


def _votes(reading: Reading) -> str:
    good = sum(one.good is True for one in reading.rows)
    bad = reading.bad
    prompts = len({_asked(one.samples[-1]) for one in reading.rows})
    said = f"votes: {good:,} good and {bad:,} bad answers to {prompts:,} prompts{_weights(good, bad)}"
    if not good:
        return f"{said}; a task has no reference among them"
    return f"{said}; KTO(votes=FILE) learns from both, a task takes the good ones as references" if bad else said


def _weights(good: int, bad: int) -> str:
    if not good or not bad:
        return " (nothing tells what is wanted from what is not)"
    if good == bad:
        return ""
    rarer, ratio = ("desirable", bad / good) if good < bad else ("undesirable", good / bad)
    return f"; weigh them with {rarer}_weight={ratio:.3g}"
