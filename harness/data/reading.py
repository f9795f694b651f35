"""Rows -> samples, row by row, with what was guessed, left out and not read."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.data.column_roles import ColumnRoles, Columns, Format, degrees_column, roles_of, vote_column, vote_of
from harness.data.conversations import fields_not_read, holds_turns
from harness.data.files.row import DataFile, Note, Row, Unreadable
from harness.data.formats import reads_past_media, samples_of
from harness.data.row_fields import accepted_of, is_empty, present, wrong
from harness.data.text_similarity import normalised
from harness.errors import InvalidData
from harness.types.samples import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRow:
    """One row that was read. good: its vote, None if it has none."""

    row: Row
    shape: ColumnRoles
    samples: tuple[Sample, ...]
    good: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the rows of one source hold.

    Attributes:
        rows: Those that could be read.
        left_out: Those that could not.
        samples: Of the rows that are no bad answers.
        not_read: Columns and fields of turns that nothing reads, each with how many rows fill it in.
        wordy: Those of them that hold texts of several words, which may belong to a question.
        bad: How many rows hold an answer that was voted bad; none of them is a reference.
        kept_as_rejected: How many of those stand beside a good answer to the same prompt.
        past_media: How many rows were read without their pictures, sounds or films.
        several: How many rows have more than one accepted answer, of which the first is the reference.
        degrees: A column that seems to say how good answers are, and is not read; "" if there is none.
        numbered: A column of labels that are numbers, which nothing names; "" if there is none.
        notes: What reading the files decided.
    """

    rows: tuple[ReadRow, ...]
    left_out: tuple[Unreadable, ...] = ()
    samples: tuple[Sample, ...] = ()
    not_read: Counter[str] = field(default_factory=Counter)
    wordy: tuple[str, ...] = ()
    bad: int = 0
    kept_as_rejected: int = 0
    past_media: int = 0
    several: int = 0
    degrees: str = ""
    numbered: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def total(self) -> int:
        return len(self.rows) + len(self.left_out)

    @property
    def shapes(self) -> Counter[tuple[str, str, bool]]:
        """Format, columns and whether they are guessed, each with its number of rows."""
        forms = ((one.shape, "labelled" if one.shape.vote else one.shape.form) for one in self.rows)
        return Counter((form, shape.columns, shape.guessed) for shape, form in forms)


def read_files(
    files: Sequence[DataFile],
    columns: Columns,
    *,
    format: Format | Literal["auto"] = "auto",
    accept: Callable[[Row, Sample], None] = lambda row, sample: None,
    vote: str | None = None,
) -> Reading:
    """Return what `read` does of the rows of several files, with the notes on how they were read."""
    rows = [row for file in files for row in file.rows]
    notes = tuple(note for file in files for note in file.notes)
    lines = tuple(line for file in files for line in file.unreadable)
    reading = read(rows, columns, format=format, accept=accept, vote=vote)
    return replace(reading, notes=notes, left_out=(*lines, *reading.left_out))


def read(
    rows: Sequence[Row],
    columns: Columns,
    *,
    format: Format | Literal["auto"] = "auto",
    accept: Callable[[Row, Sample], None] = lambda row, sample: None,
    vote: str | None = None,
) -> Reading:
    """Return what the rows hold, each read by its own shape.

    Args:
        rows: The rows.
        columns: What the user says of their columns.
        format: The format that the user names; "auto" tells it from each row.
        accept: Raises InvalidData for a sample that its task cannot use; its row is then one that could not be read.
        vote: The column of votes, "" for none; None tells it from these rows alone.
    """
    vote = vote_column(rows, columns) if vote is None else vote
    vote = vote or ("label" if format == "labelled" else "")
    found: list[ReadRow] = []
    left_out: list[Unreadable] = []
    shapes: dict[ColumnRoles, ColumnRoles] = {}
    for row in rows:
        try:
            one = _read_row(row, columns, format, vote)
            for sample in one.samples if one.good is not False else ():
                accept(row, sample)
        except InvalidData as error:
            left_out.append(Unreadable(row.where, str(error)))
            continue
        # One object for all rows of a shape: of a million rows each would keep its own.
        found.append(replace(one, shape=shapes.setdefault(one.shape, one.shape)))
    samples, kept = _references(found, grouped=columns.turns == "all" and columns.group is None)
    not_read = Counter(name for one in found for name in _not_read(one))
    return Reading(
        rows=tuple(found),
        left_out=tuple(left_out),
        samples=samples,
        not_read=not_read,
        wordy=tuple(name for name in not_read if _is_wordy(name, found)),
        bad=sum(one.good is False for one in found),
        kept_as_rejected=kept,
        past_media=sum(reads_past_media(one.row, one.shape) for one in found),
        several=sum(_has_several(one) for one in found),
        numbered=_numbered(found),
        degrees=next((name for one in found if (name := degrees_column(one.row, one.shape))), ""),
    )


def refuse_unreadable(reading: Reading, way_out: str) -> None:
    """Raise InvalidData for the first row that could not be read, with how many others there are. way_out: in words."""
    if not reading.left_out:
        return
    more = len(reading.left_out) - 1
    others = f"; {more:,} more of {reading.total:,} rows cannot be read" if more else ""
    raise InvalidData(f"{reading.left_out[0].reason}{others}{way_out if more else ''}")


def _read_row(row: Row, columns: Columns, format: Format | Literal["auto"], vote: str) -> ReadRow:
    shape = roles_of(row, columns, format=format, vote=vote)
    if format == "labelled" and not shape.vote:
        present(row, vote)
    if format == "preference" and not shape.worse:
        present(row, "chosen")
    samples = samples_of(row, shape, columns)
    if not shape.vote:
        return ReadRow(row=row, shape=shape, samples=samples)
    value = row.values[shape.vote]
    good = vote_of(value)
    if good is None:
        raise wrong(row, shape.vote, f"is {value!r}", "write true for a good answer, false for a bad one")
    return ReadRow(row=row, shape=shape, samples=samples, good=good)


def _references(rows: Sequence[ReadRow], *, grouped: bool) -> tuple[tuple[Sample, ...], int]:
    """Return the samples whose references are wanted, and how many bad answers stand beside one as its worse answer.

    Args:
        grouped: The samples of a conversation, and of others that open alike, are given one group.
    """
    bad: dict[object, list[str]] = defaultdict(list)
    for one in rows:
        if one.good is False:
            bad[(one.samples[-1].input, one.samples[-1].messages)].append(one.samples[-1].reference)
    found: list[Sample] = []
    openings: dict[str, str] = {}
    kept = 0
    for one in rows:
        if one.good is False:
            continue
        samples = one.samples
        worse = bad.get((samples[-1].input, samples[-1].messages))
        if one.good and worse:
            samples = (*samples[:-1], replace(samples[-1], rejected=worse.pop(0)))
            kept += 1
        if grouped:
            group = openings.setdefault(_opening(samples[0]), samples[0].id)
            samples = tuple(replace(sample, group=group) for sample in samples)
        found += samples
    return tuple(found), kept


def _opening(sample: Sample) -> str:
    """Return the first question of a sample's conversation, without case and punctuation."""
    return normalised(next((turn.content for turn in sample.messages if turn.role != "system"), sample.input))


def _not_read(one: ReadRow) -> Iterator[str]:
    """Yield each column, and each field of its turns, that holds something and that no reader uses, once."""
    values = one.row.values
    yield from (name for name in values if name not in one.shape.uses and not is_empty(values[name]))
    turns = {one.shape.question, one.shape.answer, one.shape.worse} & values.keys()
    found = (name for field in turns if holds_turns(values[field]) for name in fields_not_read(one.row, field))
    yield from dict.fromkeys(found)


def _is_wordy(name: str, rows: Sequence[ReadRow]) -> bool:
    """Tell whether most values of a column are texts of several words, most of which differ.

    A text that holds the answer is no part of the question: it is the whole row, put into words.
    """
    texts = [(value, one) for one in rows if isinstance(value := one.row.values.get(name), str) and value.strip()]
    long = [text for text, one in texts if len(text.split()) > 2 and one.samples[-1].reference not in text]
    return 2 * len(long) > len(texts) and 2 * len(set(long)) > len(long)


def _numbered(rows: Sequence[ReadRow]) -> str:
    """Return the column of labels of which every one is a whole number; "" if there is none."""
    labelled = [one for one in rows if one.shape.is_label]
    numbers = bool(labelled) and all(one.samples[-1].reference.isdigit() for one in labelled)
    return labelled[0].shape.answer if numbers else ""


def _has_several(one: ReadRow) -> bool:
    if one.shape.form not in ("columns", "instruction"):
        return False
    value = one.row.values.get(one.shape.answer)
    if holds_turns(value):
        return False
    return not isinstance(value, str | int | float) and len(accepted_of(one.row, one.shape.answer)) > 1
