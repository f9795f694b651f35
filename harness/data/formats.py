"""One row -> Sample, for the shapes in which instruction data comes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.data.fields import cell_of, id_of, kind_of, text_of, turns_of, wrong
from harness.data.files import Row
from harness.data.preferences import is_labelled, is_preference, preferred_of
from harness.errors import InvalidData
from harness.samples import Message, Messages, Sample

Format = Literal["messages", "conversations", "instruction", "prompt_completion", "columns", "preference", "labelled"]
FORMATS: tuple[Format, ...] = get_args(Format)


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

    Raises InvalidData for fields of no known format.
    """
    if columns.input is not None or columns.reference is not None:
        return "columns"
    fields = row.values.keys()
    if is_preference(row):
        return "preference"
    if is_labelled(row):
        return "labelled"
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
        "'conversations', 'instruction' with 'output', 'prompt' with 'completion', 'prompt' with 'chosen' and "
        "'rejected', or name the columns: input_column=, reference_column="
    )


def to_sample(row: Row, form: Format, columns: Columns) -> Sample:
    """Return the sample that `row` holds; the last turn, the answer, becomes its reference.

    Raises InvalidData naming file, row, field and what is wrong with it.
    """
    sample = _READERS[form](row, columns)
    return replace(sample, id=id_of(row, columns.id), group=_group(row, columns), tags=_tags(row, columns))


def _from_messages(row: Row, columns: Columns) -> Sample:
    return _from_turns(row, "messages", turns_of(row, "messages", role="role", text="content"))


def _from_conversations(row: Row, columns: Columns) -> Sample:
    return _from_turns(row, "conversations", turns_of(row, "conversations", role="from", text="value"))


def _from_instruction(row: Row, columns: Columns) -> Sample:
    instruction, reference = text_of(row, "instruction"), text_of(row, "output")
    given = row.values.get("input") or ""
    if not isinstance(given, str):
        raise wrong(row, "input", f"is {kind_of(given)}", "write it as text, or leave it out")
    return _plain(f"{instruction}\n\n{given}" if given.strip() else instruction, reference)


def _from_prompt_completion(row: Row, columns: Columns) -> Sample:
    if isinstance(row.values.get("prompt"), str):
        return _plain(text_of(row, "prompt"), text_of(row, "completion"))
    prompt = turns_of(row, "prompt", role="role", text="content")
    completion = turns_of(row, "completion", role="role", text="content")
    if len(completion) != 1:
        raise wrong(row, "completion", f"has {len(completion)} turns", "give the assistant's one turn")
    return _from_turns(row, "completion", (*prompt, *completion))


def _from_columns(row: Row, columns: Columns) -> Sample:
    if columns.input is None or columns.reference is None:
        raise InvalidData(f"{row.where}: input_column and reference_column are given together or not at all")
    return _plain(cell_of(row, columns.input), cell_of(row, columns.reference))


def _from_preference(row: Row, columns: Columns) -> Sample:
    """Return the sample whose reference is the chosen answer."""
    found = preferred_of(row)
    if found.messages:
        turns = (*found.messages, Message("assistant", found.chosen))
        sample = _from_turns(row, "prompt", turns)
    else:
        sample = _plain(found.text, found.chosen)
    return replace(sample, rejected=found.rejected)


def _from_labelled(row: Row, columns: Columns) -> Sample:
    """Refuse a row of one answer found good or bad: a bad one is no reference."""
    raise InvalidData(
        f"{row.where}: has 'label', a vote on one answer; KTO(votes=file) learns from such rows, a task needs "
        "'prompt' and 'completion' without it"
    )


_READERS: Mapping[Format, Callable[[Row, Columns], Sample]] = {
    "messages": _from_messages,
    "conversations": _from_conversations,
    "instruction": _from_instruction,
    "prompt_completion": _from_prompt_completion,
    "columns": _from_columns,
    "preference": _from_preference,
    "labelled": _from_labelled,
}


def _plain(text: str, reference: str) -> Sample:
    return Sample(id="", input=text, reference=reference)


def _from_turns(row: Row, field: str, turns: Messages) -> Sample:
    """Return the sample of a conversation: the text looked at is every turn before the answer but the system's."""
    if len(turns) < 2:
        raise wrong(row, field, f"has {len(turns)} turns", "a question and its answer are needed")
    *before, answer = turns
    if answer.role != "assistant":
        raise wrong(row, field, f"ends with a turn by the {answer.role}", "the assistant's last turn is the reference")
    if before[-1].role != "user":
        raise wrong(row, field, f"has the {before[-1].role} before the answer", "the user's question stands there")
    if any(turn.role == "system" for turn in before[1:]):
        raise wrong(row, field, "has a system turn after the first turn", "put it first")
    text = "\n".join(turn.content for turn in before if turn.role != "system")
    return Sample(id="", input=text, reference=answer.content, messages=tuple(before))


def _group(row: Row, columns: Columns) -> str | None:
    return None if columns.group is None else cell_of(row, columns.group)


def _tags(row: Row, columns: Columns) -> dict[str, str]:
    return {name: cell_of(row, name) for name in columns.tags}
