"""Rows of JSON and JSONL files."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from harness.data.encodings import Decoded
from harness.data.half_characters import with_whole_characters
from harness.data.inspect_logs import is_inspect_log, rows_of_log
from harness.data.json_shapes import rows_in
from harness.data.row import DataFile, Note, Row, Unreadable
from harness.errors import InvalidData

_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_jsonl(path: Path, decoded: Decoded) -> DataFile:
    """Return the row of each line of `decoded`; a file that is one JSON list is read as that, with a note.

    A line that is no JSON object is listed among those that could not be read.
    """
    text = decoded.text if "\n" in decoded.text else decoded.text.replace("\r", "\n")
    if text.lstrip()[:1] == "[":
        whole = _whole_list(path, text)
        if whole is not None:
            return whole
    # str.splitlines would also cut at U+2028 and others, which JSON allows inside a string.
    whole_file = _Lines(text.split("\n"))
    rows: list[Row] = []
    unreadable: list[Unreadable] = []
    for number, line in enumerate(whole_file.lines, start=1):
        if not line or line.isspace():
            continue
        place = f"{path}, row {number}"
        try:
            value = _decoded_json(line)
        except _NotJson as error:
            remedy = _remedy_of_line(error, number=number, file=whole_file)
            unreadable.append(Unreadable(place, error.message(place, line, remedy)))
            continue
        try:
            rows.append(Row(str(path), number, _object(value, place)))
        except InvalidData as error:
            unreadable.append(Unreadable(place, str(error)))
    return _mended(DataFile(tuple(rows), unreadable=tuple(unreadable)), text, path)


def read_json(path: Path, decoded: Decoded) -> DataFile:
    """Return the rows of `decoded`, one JSON value: a list of rows, or an object that surely holds one.

    A value in the list that is no object is listed among those that could not be read.

    Raises InvalidData naming position or key of what is no list of rows.
    """
    text = decoded.text
    if not text.strip():
        return DataFile(())
    try:
        value = _decoded_json(text)
    except _NotJson as error:
        raise InvalidData(error.message(str(path), text, _remedy_of_file(error, text))) from None
    if is_inspect_log(value):
        return _mended(rows_of_log(value, path), text, path)
    found, notes = rows_in(value, path)
    rows: list[Row] = []
    unreadable: list[Unreadable] = []
    for number, row in enumerate(found, start=1):
        place = f"{path}, row {number}"
        try:
            rows.append(Row(str(path), number, _object(row, place)))
        except InvalidData as error:
            unreadable.append(Unreadable(place, str(error)))
    return _mended(DataFile(tuple(rows), notes, tuple(unreadable)), text, path)


def _whole_list(path: Path, text: str) -> DataFile | None:
    """Return the rows of a .jsonl that is one list, None if its lines are values of their own.

    Raises InvalidData if it is a list with a fault.
    """
    try:
        read = read_json(path, Decoded(text, "UTF-8"))
    except InvalidData as error:
        try:
            _decoded_json(text.lstrip().split("\n", 1)[0])
        except _NotJson:
            raise error from None
        return None
    if read.unreadable and not read.rows:  # a list a line, perhaps
        return None
    note = Note(str(path), "read_as", "is one JSON list, not a row a line, and was read as one (as .json files are)")
    return DataFile(read.rows, (note, *read.notes), read.unreadable)


@dataclass
class _NotJson(ValueError):
    """What is no JSON, or what Python's parser accepts and JSON does not mean. place: where, counted from 0."""

    why: str
    place: int | None = None
    line: int = 1
    column: int = 1

    @property
    def is_more(self) -> bool:
        """Whether a whole value ended before the text did."""
        return self.why == _MORE

    def message(self, where: str, text: str, remedy: str) -> str:
        if self.place is None:
            return f"{where}: {self.why}; {remedy.removesuffix(' there')}"
        position = f"column {self.column}" if self.line == 1 else f"line {self.line}, column {self.column}"
        near = text[max(0, self.place - 20) : self.place + 20].strip()
        return f"{where}, {position}: not JSON: {self.why}, near {near!r}; {remedy}"


def _no_constant(name: str) -> NoReturn:
    raise _NotJson(f"{name} is not a JSON value, use null")


def _no_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _NotJson(f"the field {repeated!r} stands twice in one object")
    return values


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NotJson(f"the number {text[:20]} is too large to read, write it as text")
    return value


# Made once: json.loads with options makes one for each row, which takes longer than the row.
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_no_repeated_keys)
_MORE = "Extra data"


def _decoded_json(text: str) -> object:
    """Return the value of `text`. Raises _NotJson."""
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _NotJson(error.msg, error.pos, error.lineno, error.colno) from None
    except _NotJson:
        raise
    except RecursionError:
        raise _NotJson("nested too deeply to read") from None
    except ValueError:
        raise _NotJson("a number has too many digits to read, write it as text") from None
    return value


@dataclass(frozen=True)
class _Lines:
    """The lines of a file, and what is asked of all of them: once, however many lines are no JSON."""

    lines: Sequence[str]

    @cached_property
    def last(self) -> int:
        """The number of the last line that is not blank."""
        return max(number for number, line in enumerate(self.lines, start=1) if line.strip())

    @cached_property
    def is_one_value(self) -> bool:
        """Whether all of the lines together are one JSON value."""
        return _is_json("\n".join(self.lines))


def _remedy_of_line(error: _NotJson, *, number: int, file: _Lines) -> str:
    """Return what to do about a line that is no JSON."""
    line = file.lines[number - 1].strip()
    if line.startswith("{'"):
        return "write texts in double quotes, as json.dumps does; this is Python's own way of writing them"
    if error.is_more and line.endswith("},"):
        return "take the comma off the line's end: in a .jsonl each line stands alone"
    if not _is_cut(error, file.lines[number - 1]):
        return "correct the line or take it out"
    if number == file.last and number > 1:
        return "the last line is cut off: write the file again, or take the line out"
    if file.is_one_value:
        return "the file is one JSON value over several lines: name it .json"
    return "write each row on one line, such as with: jq -c . FILE"


def _remedy_of_file(error: _NotJson, text: str) -> str:
    """Return what to do about a .json file that is no JSON."""
    if not error.is_more:
        return "the file was cut off: write or download it again" if _is_cut(error, text) else "correct the file there"
    lines = [line for line in text.split("\n") if line.strip()]
    if all(_is_json(line) for line in lines[:100]):
        return "if each line is a row of its own, name the file .jsonl"
    return "put its JSON values into one list [ ] with commas between them, such as with: jq -s . FILE"


def _is_cut(error: _NotJson, text: str) -> bool:
    """Tell a text that ends in the middle of a value from one that has a fault before its end."""
    return error.place is not None and (error.place >= len(text.rstrip()) or error.why.startswith("Unterminated"))


def _is_json(text: str) -> bool:
    try:
        _decoded_json(text)
    except _NotJson:
        return False
    return True


def _object(value: object, place: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidData(f'{place}: {kind_of_json(value)}, not an object; write rows as {{"field": value, ...}}')
    return value


def kind_of_json(value: object) -> str:
    """Return what a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _mended(read: DataFile, text: str, path: Path) -> DataFile:
    return with_whole_characters(read, path) if _ESCAPED_HALF.search(text) else read
