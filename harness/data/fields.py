"""The fields of one row, read with errors that name file, row, field and remedy."""

import json
from collections.abc import Mapping

from harness.data.files import Row
from harness.errors import InvalidData
from harness.samples import Message, Messages, Role

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


def turns_of(row: Row, field: str, *, role: str, text: str) -> Messages:
    """Return the conversation in a field. role, text: what a turn calls its speaker and its words."""
    turns = present(row, field)
    if not isinstance(turns, list):
        raise wrong(row, field, f"is {kind_of(turns)}", f"write it as a list of turns with {role!r} and {text!r}")
    return tuple(turn_of(row, f"{field}[{place}]", turn, role=role, text=text) for place, turn in enumerate(turns))


def turn_of(row: Row, field: str, turn: object, *, role: str, text: str) -> Message:
    """Return one turn; the roles human and gpt are those of user and assistant."""
    if not isinstance(turn, Mapping):
        raise wrong(row, field, f"is {kind_of(turn)}", f"write a turn as an object with {role!r} and {text!r}")
    for name in (role, text):
        if name not in turn:
            raise wrong(row, f"{field}.{name}", "is missing", f"every turn has {role!r} and {text!r}")
        if not isinstance(turn[name], str):
            raise wrong(row, f"{field}.{name}", f"is {kind_of(turn[name])}", "write it as text")
    if turn[role] not in _ROLES:
        raise wrong(row, f"{field}.{role}", f"is {turn[role]!r}, an unknown role", f"use one of {', '.join(_ROLES)}")
    if not turn[text].strip():
        raise wrong(row, f"{field}.{text}", "is empty", "write the turn or take the row out")
    return Message(_ROLES[turn[role]], turn[text])


def cell_of(row: Row, field: str) -> str:
    """Return the text of a named column; numbers count as text, since labels often are numbers."""
    value = present(row, field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return text_of(row, field)


def text_of(row: Row, field: str) -> str:
    """Return the text of a field that is neither missing nor empty."""
    value = present(row, field)
    if not isinstance(value, str):
        raise wrong(row, field, f"is {kind_of(value)}", "write it as text")
    if not value.strip():
        raise wrong(row, field, "is empty", "fill it in or take the row out")
    return value


def id_of(row: Row, field: str) -> str:
    """Return the row's own id, or its file's name and its number."""
    if field not in row.values:
        return f"{row.source.replace(chr(92), '/').rsplit('/', 1)[-1]}:{row.number}"
    value = row.values[field]
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise wrong(row, field, f"is {kind_of(value)}", "give every row an id of its own, as text or whole number")
    return str(value)


def present(row: Row, field: str) -> object:
    """Return what a field holds."""
    if field not in row.values:
        raise wrong(row, field, "is missing", f"the row has {', '.join(map(repr, row.values)) or 'no fields'}")
    return row.values[field]


def wrong(row: Row, field: str, fact: str, remedy: str) -> InvalidData:
    """Return the error that names a field, what is wrong with it, and the way out."""
    return InvalidData(f"{row.where}: field {field!r} {fact}; {remedy}")


def kind_of(value: object) -> str:
    """Return what a JSON value is, in words."""
    if value == "":
        return "empty"
    names = {bool: "true or false", dict: "an object", list: "a list", str: "text", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")
