"""Rows that prefer: two answers to one prompt, or one answer with a vote, in the shapes in which such data comes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.data.fields import id_of, kind_of, present, text_of, turn_of, turns_of, wrong
from harness.data.files import Row, read_rows
from harness.errors import InvalidData
from harness.samples import Messages

_LABELS: Mapping[object, bool] = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """One preference row. text: the prompt as one text. messages: the conversation where it gave one, else empty."""

    id: str
    text: str
    messages: Messages
    chosen: str
    rejected: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Voted:
    """One answer with its vote. text, messages: as in `Preferred`."""

    id: str
    text: str
    messages: Messages
    answer: str
    good: bool
    where: str


def is_preference(row: Row) -> bool:
    """Tell a row of two answers from others."""
    return {"chosen", "rejected"} <= row.values.keys()


def is_labelled(row: Row) -> bool:
    """Tell a row of one answer with a vote from a task's row that has a class beside it: a vote is true or false."""
    return {"prompt", "completion"} <= row.values.keys() and isinstance(row.values.get("label"), bool)


def read_pairs(path: str | Path) -> tuple[Preferred, ...]:
    """Return the pairs of a file of preference rows.

    Raises InvalidData naming file, row, field and what is wrong with it.
    """
    rows = read_rows(path)
    if is_labelled(rows[0]):
        raise InvalidData(f"{rows[0].where}: is a vote on one answer, and pairs are asked for; KTO(votes=...) takes it")
    return tuple(preferred_of(row) for row in rows)


def read_votes(path: str | Path) -> tuple[Voted, ...]:
    """Return the votes of a file: of rows with a label, or of preference rows, a good and a bad one each.

    Raises InvalidData naming file, row, field and what is wrong with it.
    """
    rows = read_rows(path)
    if not is_preference(rows[0]):
        return tuple(voted_of(row) for row in rows)
    return tuple(vote for row in rows for vote in votes_of_pair(preferred_of(row)))


def votes_of_pair(pair: Preferred) -> tuple[Voted, Voted]:
    """Return a pair's answers, the good one and the bad one."""
    return (
        Voted(
            id=f"{pair.id} chosen",
            text=pair.text,
            messages=pair.messages,
            answer=pair.chosen,
            good=True,
            where=pair.where,
        ),
        Voted(
            id=f"{pair.id} rejected",
            text=pair.text,
            messages=pair.messages,
            answer=pair.rejected,
            good=False,
            where=pair.where,
        ),
    )


def preferred_of(row: Row) -> Preferred:
    """Return the pair that a row holds: a prompt and two answers, or two conversations that part at their last turn."""
    chosen, rejected = _answers(row, "chosen"), _answers(row, "rejected")
    if chosen[0] != rejected[0]:
        raise wrong(
            row, "rejected", "begins otherwise than 'chosen'", "both answer one prompt: only the last turn differs"
        )
    text, messages = _prompt(row, shared=chosen[0])
    return Preferred(
        id=id_of(row, "id"), text=text, messages=messages, chosen=chosen[1], rejected=rejected[1], where=row.where
    )


def voted_of(row: Row) -> Voted:
    """Return the vote that a row holds: prompt, completion and label."""
    shared, answer = _answers(row, "completion")
    label = present(row, "label")
    label = label.strip().lower() if isinstance(label, str) else label
    if not isinstance(label, bool | int | str) or label not in _LABELS:
        raise wrong(row, "label", f"is {row.values['label']!r}", "write true for a good answer, false for a bad one")
    text, messages = _prompt(row, shared=shared)
    return Voted(id=id_of(row, "id"), text=text, messages=messages, answer=answer, good=_LABELS[label], where=row.where)


def _answers(row: Row, field: str) -> tuple[Messages, str]:
    """Return the turns that stand before an answer in its field, if any, and the answer."""
    given = present(row, field)
    if isinstance(given, str):
        return (), text_of(row, field)
    if isinstance(given, Mapping):
        role, text = _dialect(given)
        turns: Messages = (turn_of(row, field, given, role=role, text=text),)
    else:
        turns = _conversation(row, field)
    if not turns or turns[-1].role != "assistant":
        found = f"ends with a turn by the {turns[-1].role}" if turns else "has no turns"
        raise wrong(row, field, found, "its last turn is the assistant's answer")
    return turns[:-1], turns[-1].content


def _prompt(row: Row, *, shared: Messages) -> tuple[str, Messages]:
    """Return the prompt as one text, and as a conversation where it is one. shared: what stood before the answers."""
    if isinstance(row.values.get("prompt"), str):
        text = text_of(row, "prompt")
        if shared and shared[-1].content != text:
            raise wrong(row, "prompt", "is not the last question of 'chosen'", "give one of them, or both alike")
        return text, shared if len(shared) > 1 else ()
    if "instruction" in row.values:
        instruction, more = text_of(row, "instruction"), row.values.get("input") or ""
        if not isinstance(more, str):
            raise wrong(row, "input", f"is {kind_of(more)}", "write it as text, or leave it out")
        return f"{instruction}\n\n{more}" if more.strip() else instruction, ()
    field = next((name for name in ("prompt", "messages", "conversations") if name in row.values), None)
    messages = (*(_conversation(row, field) if field else ()), *shared)
    if not messages:
        raise wrong(row, "prompt", "is missing", "give the prompt, or 'chosen' and 'rejected' as whole conversations")
    if messages[-1].role != "user":
        raise wrong(
            row, field or "chosen", f"has the {messages[-1].role} before the answer", "the question stands there"
        )
    return "\n".join(turn.content for turn in messages if turn.role != "system"), messages


def _conversation(row: Row, field: str) -> Messages:
    given = row.values[field]
    first = given[0] if isinstance(given, list) and given else None
    role, text = _dialect(first) if isinstance(first, Mapping) else ("role", "content")
    return turns_of(row, field, role=role, text=text)


def _dialect(turn: Mapping[object, object]) -> tuple[str, str]:
    return ("from", "value") if "from" in turn else ("role", "content")
