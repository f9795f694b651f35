"""Which part of a JSON value its rows are: a list, an object of rows by key, an object with one list inside, columns.

A shape is read only if nothing else can be meant; otherwise the error says where rows seem to be.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from harness.data.row import Note, listed
from harness.errors import InvalidData

_SPLITS = frozenset(("train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval", "holdout"))
_CONTAINERS = (
    "data",
    "rows",
    "examples",
    "samples",
    "instances",
    "records",
    "items",
    "questions",
    "entries",
    "dataset",
)
_TURN_FIELDS = ({"role", "content"}, {"from", "value"}, {"role", "text"}, {"speaker", "text"})
_DEEPEST = 4

Found = tuple[Sequence[object], tuple[Note, ...]]


def rows_in(value: object, path: Path) -> Found:
    """Return the rows in `value`, the content of the file at `path`, and a note if they are not its very elements.

    Raises InvalidData saying where rows seem to be.
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
