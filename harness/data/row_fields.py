"""The fields of one row, read with errors that name file, row, field and remedy."""

import json
import math
from collections.abc import Mapping

from harness.data.files.row import Row, listed
from harness.data.literals import as_list, as_mapping
from harness.errors import InvalidData


def cell_of(row: Row, field: str) -> str:
    """Return the text of a named column; numbers count as text, since labels often are numbers.

    A whole number is written without a point: a table makes 3.0 of the 3 in a column with a gap.
    """
    value = present(row, field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise wrong(row, field, "is no number", "fill it in or take the row out")
        return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)
    return text_of(row, field)


def text_of(row: Row, field: str) -> str:
    """Return the text of a field that is neither missing nor empty."""
    value = present(row, field)
    if not isinstance(value, str):
        raise wrong(row, field, f"is {kind_of(value)}", "write it as text")
    if not value.strip():
        raise wrong(row, field, "is empty", "fill it in or take the row out")
    return value


def optional_text(row: Row, field: str) -> str:
    """Return the text of a field that may be missing, null or empty."""
    value = row.values.get(field)
    if value is None or is_empty(value):
        return ""
    if not isinstance(value, str):
        raise wrong(row, field, f"is {kind_of(value)}", "write it as text, or leave it out")
    return value if value.strip() else ""


def accepted_of(row: Row, field: str) -> tuple[str, ...]:
    """Return the accepted answers in a field: one text or number, a list, or SQuAD's {"text": [...]}; each once."""
    value = present(row, field)
    inside = as_mapping(value)
    if inside is not None and "text" in inside:
        value = inside["text"]
    given = as_list(value)
    if given is None:
        return (cell_of(row, field),)
    found = [one["text"] if isinstance(one, Mapping) and "text" in one else one for one in given]
    if not found:
        raise wrong(row, field, "holds no answer", "give one, or take the row out")
    texts = [cell_of(Row(row.source, row.number, {field: one}), field) for one in found]
    return tuple(dict.fromkeys(texts))


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
        raise wrong(row, field, "is missing", f"the row has {listed(row.values) or 'no fields'}")
    return row.values[field]


def is_empty(value: object) -> bool:
    """Tell whether a field holds nothing: null, blank text, an empty list or object, or a list of such."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    if isinstance(value, str):
        return not value.strip() or value.strip() in ("[]", "{}")
    if isinstance(value, list | tuple):
        return all(is_empty(item) for item in value)
    return isinstance(value, Mapping) and all(is_empty(item) for item in value.values())


def wrong(row: Row, field: str, fact: str, remedy: str) -> InvalidData:
    """Return the error that names a field, what is wrong with it, and the way out."""
    return InvalidData(f"{row.where}: field {field!r} {fact}; {remedy}")


def kind_of(value: object) -> str:
    """Return what a JSON value is, in words."""
    if value == "":
        return "empty"
    names = {bool: "true or false", dict: "an object", list: "a list", str: "text", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")
