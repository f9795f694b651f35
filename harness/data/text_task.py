"""General text as a guard against forgetting: a tuned model must not find it more surprising than the untuned one."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harness.data.files.bytes import read_bytes
from harness.data.files.read import read_rows
from harness.errors import InvalidData, InvalidExperiment
from harness.types.samples import Message, Messages, Sample, Split

_PLAIN = (".txt", ".md")
# Where a window may end, the best place first: between paragraphs, lines, sentences, words.
_ENDS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?])\s+|(?<=[。！？])"), re.compile(r"\s+"))


# No slots: cached_property keeps the windows in the object's own __dict__, outside its fields.
@dataclass(frozen=True)
class TextTask:
    """Text that is only read, to guard what a model knows in general.

    Every window is a holdout sample, but for those that `dev` takes. Windows of one document are one group, so that
    intervals count documents; of a single document they count its windows, and speak of that document alone. Nothing is
    generated: the metric has to be one of likelihoods, such as `Perplexity`.

    Args:
        name: What the task is called on pages and in tables.
        texts: The documents themselves, or the path of a .txt or .md file (one document), of a folder of such files, or
            of a table (.jsonl, .json, .csv, .parquet) with a document in each row's `column`.
        letters: Most characters of a window, 1 or more. Longer documents are cut at the end of a paragraph, line,
            sentence or word, and each window is scored from its beginning: 1,200 are about 300 tokens of English and
            1,000 of Chinese. Give fewer if a window does not fit into the model's context.
        column: The column of a table that holds the text.
        limit: Most windows, the first ones; None takes all.
        dev: Share of the windows, the first ones, on which several recipes are compared for what they forget; 0 or
            more, below 1.

    Raises:
        InvalidExperiment: If a field is out of its range.
        InvalidData: When the samples are first asked for, if there is no text, or a file cannot be read.

    Examples:
        >>> task = TextTask("general", ["The sky is blue.", "Water boils at 100 degrees."])
        >>> len(task.samples(Split.HOLDOUT))
        2
        >>> guard = Guard(task, Perplexity(), by_at_most=0.5)
    """

    name: str
    texts: str | Path | Sequence[str] = field(metadata={"key": False})
    _: KW_ONLY
    letters: int = 1200
    column: str = "text"
    limit: int | None = None
    dev: float = 0.0

    only_weighed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InvalidExperiment("TextTask needs a name, such as TextTask('general', 'texts/')")
        for name in ("letters", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidExperiment(f"TextTask({self.name!r}, {name}={value}): give 1 or more")
        if not 0 <= self.dev < 1:
            raise InvalidExperiment(f"TextTask({self.name!r}, dev={self.dev}): a share of 0 or more, below 1")
        if not isinstance(self.texts, str | Path):
            object.__setattr__(self, "texts", tuple(self.texts))

    def samples(self, split: Split) -> Sequence[Sample]:
        """Return the windows of the split; there is nothing to train on."""
        first = round(self.dev * len(self._windows))
        return {Split.TRAIN: (), Split.DEV: self._windows[:first], Split.HOLDOUT: self._windows[first:]}[split]

    def prompt(self, sample: Sample) -> Messages:
        """Return an empty text: a window is scored from its first token on."""
        return (Message("user", "", verbatim=True),)

    def read(self, text: str) -> object | None:
        return text or None

    @cached_property
    def _windows(self) -> tuple[Sample, ...]:
        windows = [
            Sample(id=f"{name}#{number}", input=window, reference=window, group=name)
            for name, text in self._documents()
            for number, window in enumerate(windows_of(text, letters=self.letters), start=1)
        ]
        if not windows:
            raise InvalidData(f"TextTask({self.name!r}): its texts are empty; give a document with a word in it")
        kept = windows[: self.limit]
        # One group has no spread: whatever was measured, its interval would be endless.
        alone = len({window.group for window in kept}) == 1
        return tuple(replace(window, group=None) if alone else window for window in kept)

    def _documents(self) -> Iterator[tuple[str, str]]:
        """Yield (name, text) of each document."""
        if not isinstance(self.texts, str | Path):
            yield from ((f"text {number}", text) for number, text in enumerate(self.texts, start=1))
            return
        path = Path(self.texts)
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _PLAIN)
            yield from ((file.relative_to(path).as_posix(), _text(file)) for file in files)
        elif path.suffix.lower() in _PLAIN:
            yield path.name, _text(path)
        else:
            yield from self._rows(path)

    def _rows(self, path: Path) -> Iterator[tuple[str, str]]:
        for row in read_rows(path):
            text = row.values.get(self.column)
            if not isinstance(text, str):
                raise InvalidData(
                    f"{row.where}: no text in {self.column!r}; name the column with TextTask({self.name!r}, column=...)"
                )
            yield f"row {row.number}", text


def windows_of(text: str, *, letters: int) -> list[str]:
    """Return `text` in pieces of at most `letters` characters, each without spaces at its ends; no word is lost."""
    windows, rest = [], text.strip()
    while len(rest) > letters:
        end = _end(rest, letters)
        windows.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [*windows, rest] if rest else windows


def _end(text: str, letters: int) -> int:
    """Return where the first window of `text` ends: not in its first half, unless nothing else is a place to cut."""
    for place in _ENDS:
        ends = [found.end() for found in place.finditer(text, 0, letters + 1) if found.start() <= letters]
        ends = [end for end in ends if letters // 2 < end <= letters]
        if ends:
            return ends[-1]
    return letters


def _text(path: Path) -> str:
    try:
        return io.TextIOWrapper(io.BytesIO(read_bytes(path)), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from error
