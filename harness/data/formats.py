"""One row -> Sample, for the shapes in which instruction data comes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.data.files import Row
from harness.errors import InvalidData
from harness.samples import Message, Messages, Role, Sample

Format = Literal["messages", "conversations", "instruction", "prompt_completion", "columns"]
FORMATS: tuple[Format, ...] = get_args(Format)

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns hold what, beyond the ones that the format itself names.

    input, reference: of the format "columns". id: used where the rows have it; else file name and row number.
    group: rows that share its value stay in one split. tags: kept with the sample, for tables by tag.
    """

    input: str | None = None
    reference: str | None = None
    id: str = "id"
    group: str | None = None
    tags: tuple[str, ...] = ()


def detect_format(row: Row, columns: Columns) -> Format:
    """Return the format of `row`.

    Raises InvalidData for preference rows, which hold no single reference, and for fields of no known format.
    """
    if columns.input is not None or columns.reference is not None:
        return "columns"
    fields = row.values.keys()
    if {"chosen", "rejected"} <= fields:
        raise InvalidData(
            f"{row.where}: has 'chosen' and 'rejected', a preference row without one reference; preference rows "
            "are for recipes that learn from them (DPO, ORPO, RewardModel), a task needs 'prompt' and 'completion'"
        )
    if "messages" in fields:
        return "messages"
    if "conversations" in fields:
        return "conversations"
    if {"instruction", "output"} <= fields:
        return "instruction"
    if {"prompt", "completion"} <= fields:
        return "prompt_completion"
    raise InvalidData(
        f"{row.where}: the fields {', '.join(map(repr, fields))} are of no known format; give 'messages', "
        "'conversations', 'instruction' with 'output', 'prompt' with 'completion', or name "
        "the columns: input_column=, reference_column="
    )


def to_sample(row: Row, form: Format, columns: Columns) -> Sample:
    """Return the sample that `row` holds; the last turn, the answer, becomes its reference.

    Raises InvalidData naming file, row, field and what is wrong with it.
    """
    sample = _READERS[form](row, columns)
    return replace(sample, id=_id(row, columns), group=_group(row, columns), tags=_tags(row, columns))


def _from_messages(row: Row, columns: Columns) -> Sample:
    return _from_turns(row, "messages", _turns(row, "messages", role="role", text="content"))


def _from_conversations(row: Row, columns: Columns) -> Sample:
    return _from_turns(row, "conversations", _turns(row, "conversations", role="from", text="value"))


def _from_instruction(row: Row, columns: Columns) -> Sample:
    instruction, reference = _text(row, "instruction"), _text(row, "output")
    given = row.values.get("input") or ""
    if not isinstance(given, str):
        raise _wrong(row, "input", f"is {_kind(given)}", "write it as text, or leave it out")
    return _plain(f"{instruction}\n\n{given}" if given.strip() else instruction, reference)


def _from_prompt_completion(row: Row, columns: Columns) -> Sample:
    if isinstance(row.values.get("prompt"), str):
        return _plain(_text(row, "prompt"), _text(row, "completion"))
    prompt = _turns(row, "prompt", role="role", text="content")
    completion = _turns(row, "completion", role="role", text="content")
    if len(completion) != 1:
        raise _wrong(row, "completion", f"has {len(completion)} turns", "give the assistant's one turn")
    return _from_turns(row, "completion", (*prompt, *completion))


def _from_columns(row: Row, columns: Columns) -> Sample:
    if columns.input is None or columns.reference is None:
        raise InvalidData(f"{row.where}: input_column and reference_column are given together or not at all")
    return _plain(_cell(row, columns.input), _cell(row, columns.reference))


_READERS: Mapping[Format, Callable[[Row, Columns], Sample]] = {
    "messages": _from_messages,
    "conversations": _from_conversations,
    "instruction": _from_instruction,
    "prompt_completion": _from_prompt_completion,
    "columns": _from_columns,
}


def _plain(text: str, reference: str) -> Sample:
    return Sample(id="", input=text, reference=reference)


def _from_turns(row: Row, field: str, turns: Messages) -> Sample:
    """Return the sample of a conversation: the text looked at is every turn before the answer but the system's."""
    if len(turns) < 2:
        raise _wrong(row, field, f"has {len(turns)} turns", "a question and its answer are needed")
    *before, answer = turns
    if answer.role != "assistant":
        raise _wrong(row, field, f"ends with a turn by the {answer.role}", "the assistant's last turn is the reference")
    if before[-1].role != "user":
        raise _wrong(row, field, f"has the {before[-1].role} before the answer", "the user's question stands there")
    if any(turn.role == "system" for turn in before[1:]):
        raise _wrong(row, field, "has a system turn after the first turn", "put it first")
    text = "\n".join(turn.content for turn in before if turn.role != "system")
    return Sample(id="", input=text, reference=answer.content, messages=tuple(before))


def _turns(row: Row, field: str, *, role: str, text: str) -> Messages:
    turns = _present(row, field)
    if not isinstance(turns, list):
        raise _wrong(row, field, f"is {_kind(turns)}", f"write it as a list of turns with {role!r} and {text!r}")
    return tuple(_turn(row, f"{field}[{place}]", turn, role=role, text=text) for place, turn in enumerate(turns))


def _turn(row: Row, field: str, turn: object, *, role: str, text: str) -> Message:
    if not isinstance(turn, Mapping):
        raise _wrong(row, field, f"is {_kind(turn)}", f"write a turn as an object with {role!r} and {text!r}")
    for name in (role, text):
        if name not in turn:
            raise _wrong(row, f"{field}.{name}", "is missing", f"every turn has {role!r} and {text!r}")
        if not isinstance(turn[name], str):
            raise _wrong(row, f"{field}.{name}", f"is {_kind(turn[name])}", "write it as text")
    if turn[role] not in _ROLES:
        raise _wrong(row, f"{field}.{role}", f"is {turn[role]!r}, an unknown role", f"use one of {', '.join(_ROLES)}")
    if not turn[text].strip():
        raise _wrong(row, f"{field}.{text}", "is empty", "write the turn or take the row out")
    return Message(_ROLES[turn[role]], turn[text])


def _cell(row: Row, field: str) -> str:
    """Return the text of a named column; numbers count as text, since labels often are numbers."""
    value = _present(row, field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return _text(row, field)


def _text(row: Row, field: str) -> str:
    value = _present(row, field)
    if not isinstance(value, str):
        raise _wrong(row, field, f"is {_kind(value)}", "write it as text")
    if not value.strip():
        raise _wrong(row, field, "is empty", "fill it in or take the row out")
    return value


def _present(row: Row, field: str) -> object:
    if field not in row.values:
        raise _wrong(row, field, "is missing", f"the row has {', '.join(map(repr, row.values)) or 'no fields'}")
    return row.values[field]


def _id(row: Row, columns: Columns) -> str:
    if columns.id not in row.values:
        return f"{row.source.replace(chr(92), '/').rsplit('/', 1)[-1]}:{row.number}"
    value = row.values[columns.id]
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise _wrong(row, columns.id, f"is {_kind(value)}", "give every row an id of its own, as text or whole number")
    return str(value)


def _group(row: Row, columns: Columns) -> str | None:
    return None if columns.group is None else _cell(row, columns.group)


def _tags(row: Row, columns: Columns) -> dict[str, str]:
    return {name: _cell(row, name) for name in columns.tags}


def _wrong(row: Row, field: str, fact: str, remedy: str) -> InvalidData:
    return InvalidData(f"{row.where}: field {field!r} {fact}; {remedy}")


def _kind(value: object) -> str:
    if value == "":
        return "empty"
    names = {bool: "true or false", dict: "an object", list: "a list", str: "text", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")
