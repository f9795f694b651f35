"""A task straight from rows: files, or a hub data set.

From what a model wrote to a value that metrics compare, or None if it cannot be read.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NoReturn, get_args

from harness.data.checking import reading_checks
from harness.data.column_roles import FORMATS, Columns, Format, vote_column
from harness.data.conversations import Media
from harness.data.files.hub import read_hub
from harness.data.files.read import read_file
from harness.data.files.row import DataFile, Row, listed
from harness.data.files.whole_numbers import with_whole_numbers
from harness.data.reading import Reading, read_files, refuse_unreadable
from harness.data.splits import Fractions, split_samples, take
from harness.errors import InvalidData, InvalidExperiment
from harness.types.samples import Check, Message, Messages, Sample, Split
from harness.types.unicode import comparable

Reader = Literal["text", "first_line", "json"]
READERS: tuple[Reader, ...] = get_args(Reader)

_FENCED = re.compile(r"```[A-Za-z]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_ENDS = re.compile(r"^[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+\Z")
_OPENING = re.compile(r"[{\[]")


def read_answer(text: str, reader: Reader) -> object | None:
    """Return the value of `text`: the text stripped, its first line that is not blank, or the JSON value in it."""
    return _READERS[reader](text)


def _json(text: str) -> object | None:
    """Return the JSON value that is all of `text`, in its last fenced block with one, or its first object or list.

    Earlier blocks are sketches: who writes several ends with the answer.
    """
    whole = _parsed(text)
    if whole is not None:
        return whole
    for fenced in reversed(_FENCED.findall(text)):
        if (inside := _parsed(fenced)) is not None:
            return inside
    for opening in _OPENING.finditer(text):
        try:
            value: object = _DECODER.raw_decode(text, opening.start())[0]
        except ValueError:
            continue
        except RecursionError:
            # A model stuck on "[" writes thousands: trying each of them took a minute.
            return None
        return value
    return None


def _parsed(text: str) -> object | None:
    try:
        value: object = _DECODER.decode(_trimmed(text))
    except (ValueError, RecursionError):
        return None
    return value


def _trimmed(text: str) -> str:
    """Return `text` without white space at its ends, and without the byte order marks and zero-width spaces there."""
    return _ENDS.sub("", text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_READERS: Mapping[Reader, Callable[[str], object | None]] = {
    "text": lambda text: _trimmed(text) or None,
    "first_line": lambda text: next((line for line in map(_trimmed, text.splitlines()) if line), None),
    "json": _json,
}


Source = str | Path | Sequence[str | Path]
_READING = {"turns": ("last", "all"), "media": ("refuse", "text"), "on_error": ("raise", "skip")}


# No slots: cached_property keeps the rows that were read in the object's own __dict__, outside its fields.
@dataclass(frozen=True)
class DatasetTask:
    """A task whose samples are rows of files, or of a hub data set.

    Give `files`, which are split by hash; or `train`, `dev` and `holdout`; or `hub`. Paths are relative to the working
    folder. The rows are read when the samples are first asked for.

    Args:
        name: What the task is called on pages and in tables.
        files: One or several of JSON, JSONL, CSV, TSV, Parquet and others (docs/data.md), split by hash of `group`.
        train: The file or files of TRAIN; with `hub`, the name of its split.
        dev: The same of DEV; without it, DEV is cut from TRAIN in the proportion of `fractions`.
        holdout: The same of HOLDOUT.
        hub: A hub data set ("owner/name"); without `train`, `dev` and `holdout`, its split "train" is split by hash.
        revision: Branch, tag or commit of the hub data set; None is the newest.
        format: "auto" reads each row by its own columns (docs/data.md lists what is known).
        input_column: The column of the question, for rows of no known format, or to be certain; given together with
            `reference_column`.
        reference_column: The column of the answer.
        id_column: The column of the ids; rows without it are known by file name and row number.
        group: The column whose equal values stay in one split; None keeps rows of the same text together.
        tags: Columns that are kept, for tables by tag.
        fractions: Shares of train, dev and holdout that sum to 1.
        salt: Text that changes how the rows are split.
        limit: Most samples of each split, one number or (train, dev, holdout), drawn by hash of the id. None takes all.
        system: A system message, put before rows that have none.
        reader: How an answer's text becomes a value: "text" (stripped), "first_line", or "json" (also out of a fenced
            block).
        choices: The only possible answers; the likeliest is taken, nothing is generated. Without any, answers are
            written.
        answer_tokens: Most tokens of an answer.
        label_names: What labels written as numbers are called, in order or by number.
        turns: "last" makes a sample of a conversation's last answer, "all" of each, grouped by conversation.
        media: "refuse" rows with pictures, sounds or films, or read their "text" alone.
        on_error: "raise" for a row that cannot be read, or "skip" it; what was left out is counted on the page, and
            bars GO above 5 % of the holdout.
        stop: Strings that end an answer, such as ("\\n",).

    A preference row's better answer is the reference, and the worse one is kept beside it. An answer that was voted bad
    is never a reference.

    Raises:
        InvalidExperiment: If the declaration contradicts itself.
        InvalidData: When the samples are first asked for, if a row cannot be used; the message names file, row and
            field.

    Examples:
        >>> task = DatasetTask("tickets", "tickets.csv", input_column="text", reference_column="category")
        >>> task.prompt(Sample(id="1", input="My card was declined.", reference="payment"))[0].content
        'My card was declined.'
    """

    name: str
    files: Source = ()
    _: KW_ONLY
    train: Source | None = None
    dev: Source | None = None
    holdout: Source | None = None
    hub: str | None = None
    revision: str | None = None
    format: Format | Literal["auto"] = "auto"
    input_column: str | None = None
    reference_column: str | None = None
    id_column: str = "id"
    group: str | None = None
    tags: tuple[str, ...] = ()
    fractions: Fractions = (0.8, 0.1, 0.1)
    salt: str = ""
    limit: int | tuple[int | None, int | None, int | None] | None = None
    system: str | None = None
    reader: Reader = "text"
    choices: tuple[str, ...] = ()
    answer_tokens: int = 256
    label_names: Sequence[str] | Mapping[str, str] = field(default=(), metadata={"key": "changed"})
    turns: Literal["last", "all"] = field(default="last", metadata={"key": "changed"})
    media: Media = field(default="refuse", metadata={"key": "changed"})
    on_error: Literal["raise", "skip"] = field(default="raise", metadata={"key": "changed"})
    stop: tuple[str, ...] = field(default=(), metadata={"key": "changed"})

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InvalidExperiment(f"DatasetTask({self.name!r}): {problem}")

    def samples(self, split: Split) -> Sequence[Sample]:
        """Return the samples of `split`; read once, in the order of the rows."""
        return self._splits[split]

    def prompt(self, sample: Sample) -> Messages:
        messages = sample.messages or (Message("user", sample.input),)
        if self.system is None or messages[0].role == "system":
            return messages
        return (Message("system", self.system), *messages)

    def read(self, text: str) -> object | None:
        return read_answer(text, self.reader)

    def data_checks(self) -> tuple[Check, ...]:
        """Return what reading the rows found: what was guessed, left out and not read."""
        return reading_checks(self._readings)

    @cached_property
    def _readings(self) -> Mapping[str, Reading]:
        """What each source holds, by split; "all splits" if they are cut by hash."""
        sources = {"train": self.train, "dev": self.dev, "holdout": self.holdout}
        if not self._is_explicit:
            sources = {"all splits": "train" if self.hub else self.files}
        files = {split: [self._file(part) for part in _parts(source)] for split, source in sources.items()}
        # One meaning for all: a holdout of whole numbers alone does not say that its column holds no fractions, nor one
        # of good answers alone that its column holds votes.
        alike = iter(with_whole_numbers([file for some in files.values() for file in some]))
        files = {split: [next(alike) for _ in some] for split, some in files.items()}
        vote = vote_column([row for some in files.values() for file in some for row in file.rows], self._columns)
        return {split: self._read(some, vote) for split, some in files.items()}

    @cached_property
    def _splits(self) -> Mapping[Split, tuple[Sample, ...]]:
        splits = self._explicit_splits() if self._is_explicit else self._hashed_splits()
        _refuse_repeated_ids(splits)
        limits = self.limit if isinstance(self.limit, tuple) else (self.limit,) * 3
        return {split: take(splits[split], limit) for split, limit in zip(Split, limits, strict=True)}

    @property
    def _is_explicit(self) -> bool:
        return any(source is not None for source in (self.train, self.dev, self.holdout))

    @property
    def _columns(self) -> Columns:
        return Columns(
            input=self.input_column,
            reference=self.reference_column,
            id=self.id_column,
            group=self.group,
            tags=self.tags,
            label_names=self.label_names,
            turns=self.turns,
            media=self.media,
        )

    def _hashed_splits(self) -> dict[Split, tuple[Sample, ...]]:
        samples = self._readings["all splits"].samples
        splits = split_samples(samples, fractions=self.fractions, salt=self.salt)
        for split, fraction in zip(Split, self.fractions, strict=True):
            if fraction and not splits[split]:
                raise InvalidData(
                    f"DatasetTask({self.name!r}): none of {len(samples):,} rows fell into {split.value} "
                    f"({fraction:.0%}); give more rows or groups, other fractions, or the files of each split"
                )
        return splits

    def _explicit_splits(self) -> dict[Split, tuple[Sample, ...]]:
        train, dev, holdout = (self._readings[split.value].samples for split in Split)
        if self.dev is None and train:
            train_part, dev_part, _ = self.fractions
            share = dev_part / (train_part + dev_part)
            parts = split_samples(train, fractions=(1.0 - share, share, 0.0), salt=self.salt)
            # 1 - share + share may round to just under 1, and what lies above it belongs to dev.
            train, dev = parts[Split.TRAIN], parts[Split.DEV] + parts[Split.HOLDOUT]
        return {Split.TRAIN: train, Split.DEV: dev, Split.HOLDOUT: holdout}

    def _read(self, files: Sequence[DataFile], vote: str) -> Reading:
        reading = read_files(files, self._columns, format=self.format, accept=self._accept, vote=vote)
        if self.on_error == "raise" or not reading.rows:
            refuse_unreadable(reading, '; DatasetTask(on_error="skip") leaves such rows out and counts them')
        if reading.rows and not reading.samples:
            raise InvalidData(
                f"{reading.rows[0].row.source}: each of {len(reading.rows):,} answers was voted bad, so none is a "
                "reference; give rows with good answers"
            )
        return reading

    def _file(self, part: str | Path) -> DataFile:
        if self.hub:
            return DataFile(read_hub(self.hub, split=str(part), revision=self.revision))
        return read_file(part, keep_unreadable=True, one_of_several=True)

    def _accept(self, row: Row, sample: Sample) -> None:
        if self.choices and comparable(sample.reference) not in map(comparable, self.choices):
            raise InvalidData(
                f"{row.where}: the reference {sample.reference[:80]!r} is not among the choices {listed(self.choices)}"
            )
        held = next((text for text in self.stop if text in sample.reference), None)
        if held is not None:
            raise InvalidData(
                f"{row.where}: the reference {sample.reference[:80]!r} holds {held!r}, at which stop= ends an answer; "
                "give another stop=, or read only the part before it"
            )
        if self.read(sample.reference) is None:
            raise InvalidData(f"{row.where}: the reference {sample.reference[:80]!r} cannot be read as {self.reader}")

    def _problem(self) -> str | None:
        """Return what contradicts itself in the declaration, with the way out."""
        given = [bool(_parts(self.files)), self._is_explicit]
        if not self.name.strip():
            return "the name is empty; give one"
        if self.hub is not None and given[0]:
            return "files= and hub= are two sources; give one"
        if sum(given) > 1:
            return "files= is split by hash, train=, dev= and holdout= are split already; give one or the other"
        if not any(given) and self.hub is None:
            return "no rows: give files=, or train=, dev= and holdout=, or hub="
        if self._is_explicit and self.holdout is None:
            return "no holdout=, on which the verdict is made; give one, or only files= to split by hash"
        if self._is_explicit and self.train is None and self.dev is None:
            return "neither train= nor dev=, on which baselines are chosen; give one"
        if (self.input_column is None) != (self.reference_column is None):
            return "input_column= and reference_column= are given together or not at all"
        return self._wrong_value() or self._wrong_reading()

    def _wrong_reading(self) -> str | None:
        for name, known in _READING.items():
            if getattr(self, name) not in known:
                return f'{name}={getattr(self, name)!r} is unknown; use "{known[0]}" or "{known[1]}"'
        if isinstance(self.label_names, str):
            return 'label_names= is one text; give the names in order, such as ("no", "yes"), or by number'
        return None

    def _wrong_value(self) -> str | None:
        if self.format not in ("auto", *FORMATS):
            return f"format={self.format!r} is unknown; use auto, {', '.join(FORMATS)}"
        if self.format == "columns" and self.input_column is None:
            return 'format="columns" needs input_column= and reference_column='
        if self.reader not in READERS:
            return f"reader={self.reader!r} is unknown; use one of {', '.join(READERS)}"
        if len(self.fractions) != 3 or min(self.fractions) < 0 or not math.isclose(sum(self.fractions), 1.0):
            return f"fractions={self.fractions!r} are not three shares (train, dev, holdout) that sum to 1"
        if self.dev is None and self.train is not None and self.fractions[0] + self.fractions[1] == 0:
            return f"fractions={self.fractions!r} leave nothing for train and dev"
        limits = self.limit if isinstance(self.limit, tuple) else (self.limit,) * 3
        if len(limits) != 3 or any(limit is not None and limit < 1 for limit in limits):
            return f"limit={self.limit!r} is not a number from 1, or three of them (train, dev, holdout)"
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            return f'stop={self.stop!r} is no tuple of texts; write stop=("\\n",)'
        if self.answer_tokens < 1:
            return f"answer_tokens={self.answer_tokens} leaves no room for an answer"
        return None


def _parts(source: Source | None) -> tuple[str | Path, ...]:
    if source is None:
        return ()
    return (source,) if isinstance(source, str | Path) else tuple(source)


def _refuse_repeated_ids(splits: Mapping[Split, Sequence[Sample]]) -> None:
    seen: dict[str, Split] = {}
    for split, samples in splits.items():
        for sample in samples:
            if sample.id in seen:
                places = " and ".join(dict.fromkeys((seen[sample.id].value, split.value)))
                raise InvalidData(
                    f"the id {sample.id!r} stands twice, in {places}; give every row an id of its own, "
                    "or leave the ids out (file name and row number are used then, so file names must differ)"
                )
            seen[sample.id] = split
