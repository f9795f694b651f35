"""What `harness data check FILE` says: is this file a data set, and what should be known before tuning on it?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.files import read_file
from harness.data.reading import Reading, read_files, refuse_unreadable
from harness.data.reading_checks import columns_lines, unreadable_lines
from harness.data.row import listed
from harness.data.shapes import Columns
from harness.data.similarity import normalised
from harness.samples import Sample


@dataclass(frozen=True)
class CheckedFile:
    """The rows of a file, and the findings, one a line."""

    reading: Reading
    lines: tuple[str, ...]


def check_file(path: Path, columns: Columns | None = None) -> CheckedFile:
    """Return what is in a file.

    Raises InvalidData if it cannot be read at all, or none of its rows can.
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
