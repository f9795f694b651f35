"""Rows of JSON and JSONL files.

Which part of a JSON value its rows are: a list, an object of rows by key, an object with one list inside, columns.

A shape is read only if nothing else can be meant; otherwise the error says where rows seem to be.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from harness.data.files.encodings import Decoded
from harness.data.files.inspect_logs import is_inspect_log, rows_of_log
from harness.data.files.row import DataFile, Note, Row, Unreadable, listed, with_whole_characters
from harness.errors import InvalidData

_SPLITS = frozenset(("train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval", "holdout"))
_CONTAINERS = (
    *("data", "rows", "examples", "samples", "instances", "records", "items", "questions", "entries", "dataset"),
)
_TURN_FIELDS = ({"role", "content"}, {"from", "value"}, {"role", "text"}, {"speaker", "text"})
_DEEPEST = 4

Found = tuple[Sequence[object], tuple[Note, ...]]


def rows_in(value: object, path: Path) -> Found:
    """Return the rows in `value`, the content of the file at `path`, and a note if they are not its very elements.

    Raises:
        InvalidData: If nothing is surely a list of rows; the message says where rows seem to be.
    """
    if isinstance(value, list):
        return value, ()
    if not isinstance(value, dict):
        raise InvalidData(
            f"{path}: holds one plain value, not rows; "
            'one list of rows is expected, such as [{"prompt": ..., "completion": ...}]'
        )
    splits = [key for key in value if key.lower() in _SPLITS]
    if len(splits) > 1 and all(isinstance(value[key], list | dict) for key in splits):
        raise InvalidData(
            f"{path}: holds several splits, under {listed(splits)}; write each to a file of its own and give them as "
            "train=, dev= and holdout="
        )
    for reading in (_squad, _table, _columns, _keyed, _inside):
        found = reading(value, path)
        if found is not None:
            return found
    raise InvalidData(f"{path}: {_why_no_rows(value)}")


def _note(path: Path, text: str) -> tuple[Note, ...]:
    return (Note(str(path), "place", text),)


def _squad(value: Mapping[str, Any], path: Path) -> Found | None:
    """Return the questions of a file in SQuAD's form, each with its paragraph."""
    articles = value.get("data")
    if not _is_rows(articles) or not all(_is_rows(article.get("paragraphs")) for article in articles):
        return None
    rows = []
    for article in articles:
        for paragraph in article["paragraphs"]:
            if not isinstance(paragraph.get("context"), str) or not isinstance(paragraph.get("qas"), list):
                return None
            rows += [_question(question, article, paragraph) for question in paragraph["qas"]]
    return rows, _note(path, "is in SQuAD's form: each question under data, paragraphs, qas is a row")


def _question(question: object, article: Mapping[str, Any], paragraph: Mapping[str, Any]) -> object:
    if not isinstance(question, dict):
        return question
    answers = question.get("answers")
    if _is_rows(answers):
        # As the hub's squad has them: a list a field.
        answers = {key: [answer.get(key) for answer in answers] for key in answers[0]}
    title = {"title": article["title"]} if "title" in article else {}
    return {**title, "context": paragraph["context"], **question, "answers": answers}


def _table(value: Mapping[str, Any], path: Path) -> Found | None:
    """Return the rows of pandas' orient="split": column names and lists of cells."""
    columns, cells = value.get("columns"), value.get("data")
    if not isinstance(columns, list) or not isinstance(cells, list) or not set(value) <= {"columns", "index", "data"}:
        return None
    if not all(isinstance(row, list) and len(row) == len(columns) for row in cells):
        return None
    if not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
        return None
    return [dict(zip(columns, row, strict=True)) for row in cells], _note(path, "the rows are lists under 'data'")


def _columns(value: Mapping[str, Any], path: Path) -> Found | None:
    """Return the rows of a table that is stored by column: lists of one length, or pandas' objects of "0", "1", ..."""
    columns = list(value.values())
    if len(columns) < 2:
        return None
    if all(isinstance(column, dict) for column in columns):
        keys = list(columns[0])
        if not keys or not all(key.isdecimal() for key in keys) or any(list(column) != keys for column in columns):
            return None
        rows = [{name: column[key] for name, column in value.items()} for key in keys]
    elif all(isinstance(column, list) and column and not _is_rows(column) for column in columns):
        if len({len(column) for column in columns}) > 1:
            return None
        rows = [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    else:
        return None
    return rows, _note(path, f"is stored by column: {listed(value)} hold one value for each row")


def _keyed(value: Mapping[str, Any], path: Path) -> Found | None:
    """Return the rows of an object that has them by key; the key is the id of a row that has none."""
    rows = list(value.values())
    if len(rows) < 2 or not all(isinstance(row, dict) and row for row in rows):
        return None
    if not set.intersection(*(set(row) for row in rows)):
        return None
    found = [{"id": key, **row} for key, row in value.items()]
    return found, _note(path, f"is an object of {len(rows):,} rows by key; the key is the id of each row without one")


def _inside(value: Mapping[str, Any], path: Path) -> Found | None:
    """Return the one list of rows in an object that has nothing else but facts about them."""
    lists = [key for key, inner in value.items() if _is_rows(inner) and not _is_turns(inner)]
    named = [key for key in lists if key.lower() in _CONTAINERS]
    if len(named) != 1 and not (len(lists) == 1 and len(value) == 1):
        return None
    key = (named or lists)[0]
    if any(other in _CONTAINERS for other in lists if other != key):
        return None
    rows: list[Any] = value[key]
    if all(isinstance(row, dict) and isinstance(row.get("row"), dict) and "row_idx" in row for row in rows):
        # As the hub's server of data sets answers.
        rows = [row["row"] for row in rows]
    return rows, _note(path, f"the rows are those of the list under {key!r}")


def _why_no_rows(value: Mapping[str, Any]) -> str:
    if not value:
        return "holds an empty object, not a list of rows; put the rows in [ ]"
    places = [place for place in _places(value, ()) if not place[1]]
    if places:
        where = listed((".".join(place[0]) for place in places), most=8)
        return (
            f"holds an object with the keys {listed(value)}, not a list of rows; rows seem to be under {where}: write "
            "that list to a file of its own"
        )
    if any(isinstance(inner, dict | list) and not inner for inner in value.values()):
        return f"holds an object with the keys {listed(value)}, not a list of rows; put the rows in [ ]"
    return (
        f"holds an object with the keys {listed(value)}, not a list of rows; if it is one single row, put it in [ ], "
        "and give more rows than one"
    )


def _places(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the keys that lead to each list of objects, and whether it is a conversation."""
    if _is_rows(value) and path:
        yield path, _is_turns(value)
    elif isinstance(value, dict) and len(path) < _DEEPEST:
        for key, inner in value.items():
            yield from _places(inner, (*path, str(key)))


def _is_rows(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _is_turns(value: object) -> bool:
    """Tell the turns of a conversation from rows."""
    return _is_rows(value) and any(fields <= set(value[0]) for fields in _TURN_FIELDS)


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

    def value_of(place: str, number: int) -> object:
        line = whole_file.lines[number - 1]
        try:
            return _decoded_json(line)
        except _NotJson as error:
            remedy = _remedy_of_line(error, number=number, file=whole_file)
            raise InvalidData(error.message(place, line, remedy)) from None

    filled = (number for number, line in enumerate(whole_file.lines, start=1) if line and not line.isspace())
    rows, unreadable = _rows(path, filled, value_of)
    return _mended(DataFile(rows, unreadable=unreadable), text, path)


def read_json(path: Path, decoded: Decoded) -> DataFile:
    """Return the rows of `decoded`, one JSON value: a list of rows, or an object that surely holds one.

    A value in the list that is no object is listed among those that could not be read.

    Raises:
        InvalidData: If it is no list of rows; the message names position or key.
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
    rows, unreadable = _rows(path, range(1, len(found) + 1), lambda _, number: found[number - 1])
    return _mended(DataFile(rows, notes, unreadable), text, path)


def _rows(
    path: Path, numbers: Iterable[int], value_of: Callable[[str, int], object]
) -> tuple[tuple[Row, ...], tuple[Unreadable, ...]]:
    """Return the rows of these numbers, and those that are none. value_of: of a place and its number."""
    rows: list[Row] = []
    unreadable: list[Unreadable] = []
    for number in numbers:
        place = f"{path}, row {number}"
        try:
            rows.append(Row(str(path), number, _object(value_of(place, number), place)))
        except InvalidData as error:
            unreadable.append(Unreadable(place, str(error)))
    return tuple(rows), tuple(unreadable)


def _whole_list(path: Path, text: str) -> DataFile | None:
    """Return the rows of a .jsonl that is one list, None if its lines are values of their own.

    Raises:
        InvalidData: If it is a list with a fault.
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
