"""One row -> the samples that it holds, for the shapes in which instruction data comes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.data.column_roles import HISTORY, INSTRUCTIONS, SYSTEM, TOOLS, ColumnRoles, Columns
from harness.data.conversations import (
    MEDIA_COLUMNS,
    has_media_parts,
    holds_turns,
    linked,
    media_refused,
    offered,
    tools_in,
    tools_of,
    turns_of,
    without_placeholders,
)
from harness.data.files.row import Row, listed
from harness.data.literals import as_list, as_mapping
from harness.data.row_fields import (
    accepted_of,
    cell_of,
    id_of,
    is_empty,
    kind_of,
    optional_text,
    present,
    text_of,
    wrong,
)
from harness.types.samples import Message, Messages, Sample

# How Anthropic's hh-rlhf and its followers write a conversation as one text.
_SPOKEN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


@dataclass(frozen=True, slots=True)
class _Conversation:
    """A row's turns, the answer last. plain: a question and its answer, which the task puts into a prompt itself."""

    turns: Messages
    plain: bool = False
    rejected: str | None = None


def samples_of(row: Row, shape: ColumnRoles, columns: Columns) -> tuple[Sample, ...]:
    """Return the samples that `row` holds: its last answer with the turns before it, or each of its answers.

    Of a pair the better answer is the reference. Whether an answer was voted good is for the caller to look at.

    Raises:
        InvalidData: If the row cannot be used; the message names file, row, field and what is wrong with it.
    """
    full = _media_columns(row, shape)
    if full and columns.media == "refuse":
        raise media_refused(row, full[0])
    found = _conversation(row, shape, columns)
    if reads_past_media(row, shape):
        bare = tuple(replace(turn, content=without_placeholders(turn.content)) for turn in found.turns)
        found = replace(found, turns=bare)
    name, group = id_of(row, columns.id), None if columns.group is None else cell_of(row, columns.group)
    tags = {tag: cell_of(row, tag) for tag in columns.tags}
    field = shape.question or shape.answer
    # A vote, or a preference, is about the last answer alone.
    every = columns.turns == "all" and not (shape.worse or shape.vote)
    places = _answers(row, field, found.turns, every=every)
    samples = [_sample(found, place) for place in places]
    ids = [name if len(samples) == 1 else f"{name} turn {number}" for number in range(1, len(samples) + 1)]
    return tuple(replace(one, id=its, group=group, tags=tags) for one, its in zip(samples, ids, strict=True))


def reads_past_media(row: Row, shape: ColumnRoles) -> bool:
    """Tell whether a row holds pictures, sounds or films beside the text that is read."""
    return bool(_media_columns(row, shape)) or has_media_parts(row, (shape.question, shape.answer, shape.worse))


def _media_columns(row: Row, shape: ColumnRoles) -> list[str]:
    return [name for name in MEDIA_COLUMNS if name in shape.uses and not is_empty(row.values[name])]


def _sample(found: _Conversation, place: int) -> Sample:
    """Return the sample whose answer stands at `place`; the text looked at is every turn before but the system's."""
    before, answer = found.turns[:place], found.turns[place]
    text = "\n".join(turn.text for turn in before if turn.role != "system") or answer.text
    return Sample(
        id="",
        input=text,
        reference=answer.text,
        messages=() if found.plain else before,
        rejected=found.rejected,
    )


def _answers(row: Row, field: str, turns: Messages, *, every: bool) -> list[int]:
    """Return where the answers stand that become references: the last one to be learned, or all of them."""
    if len(turns) < 2:
        raise wrong(row, field, f"has {len(turns)} turns", "a question and its answer are needed")
    if turns[-1].role != "assistant":
        fact = f"ends with a turn by the {turns[-1].role}"
        raise wrong(row, field, fact, "the assistant's last turn is the reference")
    if any(turn.role == "system" for turn in turns[1:]):
        raise wrong(row, field, "has a system turn after the first turn", "put it first")
    said = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    places = [place for place in said if turns[place].learned]
    if not places:
        raise wrong(row, field, "has no answer to be learned: each has weight 0", "take the row out")
    places = places if every else places[-1:]
    asked = [place for place in places if place and turns[place - 1].role in ("user", "tool")]
    # A greeting answers nothing; it stays in the prompts of the answers behind it.
    greeting = 1 if turns[0].role == "system" else 0
    unasked = [place for place in places if place not in asked and not (asked and place == greeting)]
    if unasked:
        before = turns[unasked[-1] - 1].role if unasked[-1] else "beginning"
        raise wrong(row, field, f"has the {before} before the answer", "the user's question stands there")
    return asked


def _conversation(row: Row, shape: ColumnRoles, columns: Columns) -> _Conversation:
    if shape.form == "columns" and not shape.guessed:
        turns = (Message("user", cell_of(row, shape.question)), Message("assistant", _labelled(row, shape, columns)))
        return _Conversation(turns, plain=True)
    if shape.form == "text":
        # No chat template: the model goes on from nothing, as it does in pretraining.
        text = text_of(row, shape.question)
        return _Conversation((Message("user", "", verbatim=True), Message("assistant", text)))
    if shape.form == "preference":
        return _preference(row, shape, columns)
    if shape.answer:
        before = _prompt(row, shape, columns)
        answer = _answer(row, shape, columns)
    else:
        before, answer = turns_of(row, shape.question, media=columns.media), ()
    return _with_surroundings(row, shape, (*before, *answer))


def _with_surroundings(row: Row, shape: ColumnRoles, turns: Messages, rejected: str | None = None) -> _Conversation:
    """Return the conversation with the columns "system", "history" and "tools" put where they belong."""
    named = next((name for name in SYSTEM if name in shape.uses and optional_text(row, name)), "")
    system = row.values[named] if named else ""
    assert isinstance(system, str)
    history = _history(row) if HISTORY in shape.uses else ()
    tools = next((text for name in TOOLS if name in shape.uses and (text := tools_of(row, name))), "")
    tools = tools or next((text for field in _fields_of_turns(row, shape) if (text := tools_in(row, field))), "")
    first = turns[0] if turns and turns[0].role == "system" else None
    if system and first is not None and first.content.strip() != system.strip():
        raise wrong(row, named, f"is another text than the system turn of {shape.question!r}", "keep one of them")
    leading = (first,) if first is not None else (Message("system", system),) if system else ()
    whole = (*leading, *history, *(turns[1:] if first is not None else turns))
    plain = not (leading or history or tools) and len(whole) == 2 and not _fields_of_turns(row, shape)
    return _Conversation(offered(linked(whole), tools), plain=plain, rejected=rejected)


def _fields_of_turns(row: Row, shape: ColumnRoles) -> list[str]:
    return [field for field in (shape.question, shape.answer, shape.worse) if holds_turns(row.values.get(field))]


def _history(row: Row) -> Messages:
    """Return the turns of Alpaca's "history": pairs of a question and its answer."""
    value = row.values[HISTORY]
    if is_empty(value):
        return ()
    if holds_turns(value):
        return turns_of(row, HISTORY)
    pairs = as_list(value)
    if pairs is None:
        raise wrong(row, HISTORY, f"is {kind_of(value)}", "write it as a list of [question, answer]")
    turns: list[Message] = []
    for place, given in enumerate(pairs):
        pair = as_list(given)
        if pair is None or len(pair) != 2 or not all(isinstance(text, str) and text.strip() for text in pair):
            raise wrong(row, f"{HISTORY}[{place}]", f"is {kind_of(given)}", "write a pair of texts: [question, answer]")
        turns += [Message("user", str(pair[0])), Message("assistant", str(pair[1]))]
    return tuple(turns)


def _prompt(row: Row, shape: ColumnRoles, columns: Columns) -> Messages:
    """Return the turns of the question's column: a text, or a conversation."""
    value = row.values.get(shape.question)
    inside = as_mapping(value)
    if inside is not None and holds_turns(inside.get("messages")):  # OpenAI's preference rows
        return offered(
            turns_of(replace(row, values=inside), "messages", media=columns.media),
            tools_of(replace(row, values=inside), "tools"),
        )
    if not isinstance(value, str) or holds_turns(value):
        present(row, shape.question)
        if not isinstance(value, str | list | Mapping):
            raise wrong(row, shape.question, f"is {kind_of(value)}", "write it as text")
        return turns_of(row, shape.question, media=columns.media)
    question = text_of(row, shape.question)
    beside = optional_text(row, shape.beside) if shape.beside else ""
    if not beside:
        return (Message("user", question),)
    # An instruction goes before what it is applied to, a question behind what it is asked about.
    parts = (question, beside) if shape.question.strip().lower() in INSTRUCTIONS else (beside, question)
    return (Message("user", "\n\n".join(parts)),)


def _answer(row: Row, shape: ColumnRoles, columns: Columns) -> Messages:
    """Return the one turn of the answer's column."""
    value = row.values.get(shape.answer)
    if holds_turns(value) or (isinstance(value, list) and shape.form == "prompt_completion"):
        turns = turns_of(row, shape.answer, media=columns.media)
        if len(turns) != 1:
            raise wrong(row, shape.answer, f"has {len(turns)} turns", "give the assistant's one turn")
        return turns
    text = _labelled(row, shape, columns) if shape.guessed else text_of(row, shape.answer)
    return (Message("assistant", text),)


def _labelled(row: Row, shape: ColumnRoles, columns: Columns) -> str:
    """Return the text of the answer's column: a label's name, if the task or the file names it."""
    value = present(row, shape.answer)
    names: Sequence[str] | Mapping[str, str] = columns.label_names or row.label_names.get(shape.answer, ())
    if isinstance(value, bool) and not names:
        raise wrong(row, shape.answer, "is true or false", 'say what they are called: label_names=("no", "yes")')
    if not names or isinstance(value, list | Mapping) or is_empty(value):
        return accepted_of(row, shape.answer)[0]
    code = str(int(value)) if isinstance(value, bool | float) and float(value).is_integer() else str(value).strip()
    known = names if isinstance(names, Mapping) else {str(place): name for place, name in enumerate(names)}
    if code in known:
        return known[code]
    if code in known.values():
        return code
    raise wrong(row, shape.answer, f"is {value!r}, which no label is called", f"label_names holds {listed(known)}")


def _preference(row: Row, shape: ColumnRoles, columns: Columns) -> _Conversation:
    """Return the conversation that ends with the better answer: prompt and two answers, or two conversations."""
    prompt_is_said = bool(shape.question) and shape.question not in (shape.answer, shape.worse)
    chosen = _end(row, shape.answer, columns, spoken=not prompt_is_said)
    rejected = _end(row, shape.worse, columns, spoken=not prompt_is_said)
    if not prompt_is_said and len(chosen) == len(rejected) == 1:
        return _continued(row, shape, chosen[0].content, rejected[0].content)
    if chosen[:-1] != rejected[:-1]:
        raise wrong(
            row,
            shape.worse,
            f"begins otherwise than {shape.answer!r}",
            "both answer one prompt: only the last turn differs",
        )
    shared = chosen[:-1]
    before = _prompt(row, shape, columns) if prompt_is_said else ()
    if before and before[-1].role == "assistant" and before == (*shared, chosen[-1]):
        before = shared  # "messages" repeats the conversation with its chosen answer
    elif shared and before and not _same_questions(shared, before):
        fact = f"is not the last question of {shape.answer!r}"
        raise wrong(row, shape.question, fact, "give one of them, or both alike")
    turns = before if len(before) > len(shared) else shared
    if not turns:
        raise wrong(row, "prompt", "is missing", "give the prompt, or 'chosen' and 'rejected' as whole conversations")
    found = _with_surroundings(row, shape, (*turns, chosen[-1]), rejected[-1].text)
    plain_text = isinstance(row.values.get(shape.question), str) and not holds_turns(row.values.get(shape.question))
    return replace(found, plain=found.plain or (plain_text and len(found.turns) == 2))


def _same_questions(shared: Messages, before: Messages) -> bool:
    """Tell whether a prompt is the conversation that stands before both answers, or its last question."""
    asked = [turn for turn in before if turn.role != "system"]
    said = [turn for turn in shared if turn.role != "system"]
    return asked == said[-len(asked) :]


def _end(row: Row, field: str, columns: Columns, *, spoken: bool) -> Messages:
    """Return the turns in the column of an answer, the answer last."""
    value = present(row, field)
    if isinstance(value, str) and not holds_turns(value):
        text = text_of(row, field)
        turns = _spoken(text) if spoken else ()
        turns = turns or (Message("assistant", text),)
    else:
        turns = turns_of(row, field, media=columns.media)
    if not turns or turns[-1].role != "assistant":
        found = f"ends with a turn by the {turns[-1].role}" if turns else "has no turns"
        raise wrong(row, field, found, "its last turn is the assistant's answer")
    return linked(turns)


def _spoken(text: str) -> Messages:
    """Return the turns of a text that is written as "Human: ... Assistant: ..."; none if it is not."""
    pieces = _SPOKEN.split(text)
    if len(pieces) < 5 or pieces[0].strip() or pieces[1] != "Human":
        return ()
    said = zip(pieces[1::2], pieces[2::2], strict=True)
    return tuple(
        Message("user" if who == "Human" else "assistant", words.strip()) for who, words in said if words.strip()
    )


def _continued(row: Row, shape: ColumnRoles, chosen: str, rejected: str) -> _Conversation:
    """Return the pair of two texts that begin alike: the words in common are the prompt."""
    length = next((at for at, (one, two) in enumerate(zip(chosen, rejected, strict=False)) if one != two), 0)
    shared = chosen[:length]
    if not shared.endswith((" ", "\n")):
        shared = shared[: max(shared.rfind(" "), shared.rfind("\n")) + 1]
    if not shared.strip():
        raise wrong(row, "prompt", "is missing", f"give the prompt of {shape.answer!r} and {shape.worse!r}")
    good, bad = chosen[len(shared) :], rejected[len(shared) :]
    turns = (Message("user", shared.strip()), Message("assistant", good.strip()))
    if not good.strip() or not bad.strip():
        raise wrong(row, shape.worse, f"is the beginning of {shape.answer!r}", "give the prompt and two whole answers")
    return replace(_with_surroundings(row, shape, turns, bad.strip()), plain=True)
