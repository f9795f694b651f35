"""A conversation in a field: turns of any dialect, with tools, parts, weights, pictures.

Tools in a row: which are on offer, which are called, in the forms of OpenAI, Hugging Face and LLaMA-Factory.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, cast

from harness.data.files.row import Row, listed
from harness.data.literals import as_list, as_mapping
from harness.data.row_fields import kind_of, present, wrong
from harness.errors import InvalidData
from harness.types.samples import Message, Messages, Role, ToolCall

_WRITE_A_CALL = 'write a call as {"name": ..., "arguments": {...}}'


def tools_of(row: Row, field: str) -> str:
    """Return the JSON text of the tools that a field lists, "" for none.

    The list may be written as text, and a tool bare ({"name": ...}) or within {"type": "function", "function": ...}.
    """
    value = row.values.get(field)
    if value is None or (isinstance(value, str | list | dict) and not value):
        return ""
    given = _several(value)
    if given is None:
        raise wrong(row, field, f"is {kind_of(value)}", 'write the tools as a list of {"name", "parameters"}')
    found = [_tool(row, f"{field}[{place}]", tool) for place, tool in enumerate(given)]
    return json.dumps(found, ensure_ascii=False) if found else ""


def calls_of(row: Row, field: str, value: object) -> tuple[ToolCall, ...]:
    """Return the calls in a turn's "tool_calls", "function_call", or in the words of a turn that is a call."""
    given = _several(value)
    if given is None:
        raise wrong(row, field, f"is {_shown(value)}", _WRITE_A_CALL)
    return tuple(_call(row, f"{field}[{place}]" if len(given) > 1 else field, one) for place, one in enumerate(given))


def _several(value: object) -> Sequence[object] | None:
    """Return the items of a list, or the one that stands without its list; None for what is neither."""
    single = as_mapping(value)
    return as_list(value) if single is None else [single]


def linked(turns: Messages) -> Messages:
    """Return the turns with an id for each call that has none, and for each tool's turn the id of what it answers.

    Some templates and all servers ask for ids; a result without one belongs to the first call without a result.
    """
    open_calls: list[str] = []
    number, done = 0, []
    for turn in turns:
        calls = []
        for call in turn.calls:
            number += 1
            # Nine letters and digits: what the strictest template (Mistral's) takes.
            calls.append(call if call.id else replace(call, id=f"call{number:05d}"))
        open_calls += [call.id for call in calls]
        found = turn
        if calls:
            found = replace(turn, calls=tuple(calls))
        elif turn.role == "tool" and not turn.call_id and open_calls:
            found = replace(turn, call_id=open_calls[0])
        if found.call_id in open_calls:
            open_calls.remove(found.call_id)
        done.append(found)
    return tuple(done)


def offered(turns: Messages, tools: str) -> Messages:
    """Return the turns with the tools on offer kept by each turn of the user, so that the last question has them."""
    return tuple(replace(turn, tools=tools) if tools and turn.role == "user" else turn for turn in turns)


def _tool(row: Row, field: str, value: object) -> Mapping[str, object]:
    tool = as_mapping(value)
    if tool is None:
        raise wrong(row, field, f"is {kind_of(value)}", 'write a tool as {"name": ..., "parameters": {...}}')
    inner = tool.get("function") if isinstance(tool.get("function"), Mapping) else tool
    assert isinstance(inner, Mapping)
    if not isinstance(inner.get("name"), str) or not inner["name"]:
        raise wrong(row, field, "has no name", 'write a tool as {"name": ..., "parameters": {...}}')
    return {"type": "function", "function": _without_nulls(inner)}


def _call(row: Row, field: str, value: object) -> ToolCall:
    call = as_mapping(value)
    if call is None:
        raise wrong(row, field, f"is {_shown(value)}", _WRITE_A_CALL)
    inner = call["function"] if isinstance(call.get("function"), Mapping) else call
    assert isinstance(inner, Mapping)
    name, arguments = inner.get("name"), inner.get("arguments", inner.get("parameters"))
    if not isinstance(name, str) or not name:
        raise wrong(row, field, "has no name", _WRITE_A_CALL)
    given = {} if arguments in (None, "") else as_mapping(arguments)
    if given is None:
        raise wrong(row, f"{field}.arguments", f"is {_shown(arguments)}", "write the arguments as an object")
    text = json.dumps(_without_nulls(given) if isinstance(arguments, Mapping) else given, ensure_ascii=False)
    return ToolCall(name=name, arguments=text, id=str(call.get("id") or ""))


def _without_nulls(value: object) -> object:
    """Return an object without the fields that are null: a table fills in every field that another row has."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_without_nulls(item) for item in value]
    return value


def _shown(value: object) -> str:
    return repr(value[:60]) if isinstance(value, str) else kind_of(value)


Media = Literal["refuse", "text"]

# Where a conversation stands, in the order in which one is looked for.
CONVERSATIONS = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat")
MEDIA_COLUMNS = ("image", "images", "audio", "audios", "video", "videos")

_SPEAKER, _WORDS = ("role", "from", "speaker"), ("content", "value", "text")
_EXCHANGES = (
    *(("human", "assistant"), ("user", "assistant"), ("input", "output"), ("question", "answer")),
    *(("prompt", "response"), ("query", "response"), ("instruction", "output")),
)
_LEARNED = ("weight", "train", "loss")
_READ_TOO = ("name", "tool_calls", "function_call", "tool_call_id", "tools")
_CALL = "function_call"
_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model", "bot", "chatbot", "ai"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "function_response", "tool_response"), "tool"),
}
_CALLERS = (_CALL, "tool_call", "tool_calls")
_TEXT_PARTS = ("text", "input_text", "output_text")
_MEDIA_WORDS = ("image", "audio", "video", "file")
_PLACEHOLDERS = ("<image>", "<audio>", "<video>")


def holds_turns(value: object) -> bool:
    """Tell whether a value is a list of turns, also one written as text, or as one list of each part."""
    given = _list_of_turns(value) or []
    if isinstance(value, str):  # an answer may be JSON too
        return bool(given) and all(_names_a_role(turn) for turn in given)
    return any(isinstance(turn, Mapping) and any(name in turn for name in _SPEAKER) for turn in given)


def turns_of(row: Row, field: str, *, media: Media = "refuse") -> Messages:
    """Return the conversation in a field; a single turn may stand without its list."""
    value = present(row, field)
    turns = _list_of_turns(value)
    if turns is None:
        raise wrong(row, field, f"is {kind_of(value)}", "write it as a list of turns with 'role' and 'content'")
    said = [place for place, turn in enumerate(turns) if not _is_silent_system(turn)]
    return tuple(_turn(row, f"{field}[{place}]", turns[place], media) for place in said)


def tools_in(row: Row, field: str) -> str:
    """Return the tools that the first turn to list any lists, as JSON text; "" for none."""
    given = [turn for turn in _list_of_turns(row.values.get(field)) or () if isinstance(turn, Mapping)]
    found = (tools_of(replace(row, values=turn), "tools") for turn in given if turn.get("tools"))
    return next(found, "")


def fields_not_read(row: Row, field: str) -> Iterator[str]:
    """Yield the fields of turns that nothing reads and that are not empty, such as "messages[].mood"."""
    known = {*_SPEAKER, *_WORDS, *_LEARNED, *_READ_TOO}
    for turn in _list_of_turns(row.values.get(field)) or ():
        if isinstance(turn, Mapping):
            yield from (f"{field}[].{name}" for name, value in turn.items() if name not in known and value)


def has_media_parts(row: Row, fields: tuple[str, ...]) -> bool:
    """Tell whether a turn in one of `fields` has a picture, sound or film among its parts."""
    turns = [turn for field in fields for turn in _list_of_turns(row.values.get(field)) or ()]
    return any(_is_media(part) for turn in turns if isinstance(turn, Mapping) for part in _parts(turn))


def without_placeholders(text: str) -> str:
    """Return a text without the marks that stand for a picture, sound or film."""
    for mark in _PLACEHOLDERS:
        text = text.replace(f"{mark}\n", "").replace(mark, "")
    return text.strip()


def _names_a_role(turn: object) -> bool:
    if not isinstance(turn, Mapping):
        return False
    said = turn.get(_named(turn, _SPEAKER) or "")
    return isinstance(said, str) and said.strip().lower().replace("-", "_") in (*_ROLES, *_CALLERS)


def _list_of_turns(value: object) -> list[object] | None:
    """Return the turns in a value: a list, one turn, or {"role": [...], "content": [...]} as tables hold them."""
    inside = as_mapping(value)
    if inside is None:
        given = as_list(value)
        return None if given is None else [turn for one in given for turn in _exchange(one)]
    columns = {name: column for name, column in inside.items() if isinstance(column, list)}
    if columns and any(name in columns for name in _SPEAKER):
        longest = max(map(len, columns.values()))
        return [
            {name: column[place] for name, column in columns.items() if place < len(column)} for place in range(longest)
        ]
    return [inside]


def _is_silent_system(turn: object) -> bool:
    """Tell whether a turn is a system message without words: some files have one in every row."""
    return (
        isinstance(turn, Mapping)
        and turn.get(_named(turn, _SPEAKER) or "") == "system"
        and not any(turn.get(name) for name in _WORDS)
    )


def _exchange(given: object) -> list[object]:
    """Return a turn as it is, and a question and its answer in one object as two turns, after its system message."""
    if not isinstance(given, Mapping) or any(name in given for name in _SPEAKER):
        return [given]
    pair = next((pair for pair in _EXCHANGES if set(pair) <= given.keys()), None)
    if pair is None:
        return [given]
    named = [("system", "system")] if given.get("system") else []
    named += [("user", pair[0]), ("assistant", pair[1])]
    rest = {name: value for name, value in given.items() if name not in (*pair, "system")}
    return [{"role": role, "content": given[name], **rest} for role, name in named]


def _turn(row: Row, field: str, value: object, media: Media) -> Message:
    turn = as_mapping(value)
    if turn is None:
        raise wrong(row, field, f"is {kind_of(value)}", "write a turn as an object with 'role' and 'content'")
    speaker = _named(turn, _SPEAKER)
    words = _named(turn, _WORDS) or ("value" if speaker == "from" else "content")
    if speaker is None:
        missing = "from" if words == "value" else "role"
        raise wrong(row, f"{field}.{missing}", "is missing", f"every turn has {missing!r} and {words!r}")
    said = turn[speaker]
    if not isinstance(said, str):
        raise wrong(row, f"{field}.{speaker}", f"is {kind_of(said)}", "write it as text")
    name = said.strip().lower().replace("-", "_")
    learned = _learned(row, field, turn)
    if name in _CALLERS:
        calls = calls_of(row, f"{field}.{words}", turn.get(words))
        return Message("assistant", "", calls=calls, learned=learned)
    if name not in _ROLES:
        known = "system, user, assistant, tool, human, gpt, function_call or observation"
        raise wrong(row, f"{field}.{speaker}", f"is {said!r}, an unknown role", f"use {known}")
    calls = _calls(row, field, turn)
    content = _content(row, f"{field}.{words}", turn.get(words), media, tool=_ROLES[name] == "tool")
    if not content.strip() and not calls and _ROLES[name] != "tool":
        fact = "is missing" if words not in turn else f"is {kind_of(turn[words] or '')}"
        remedy = "write the turn or take the row out"
        raise wrong(row, f"{field}.{words}", fact, remedy)
    tool = _ROLES[name] == "tool"
    return Message(
        _ROLES[name],
        content,
        calls=calls,
        name=str(turn.get("name") or "") if tool else "",
        call_id=str(turn.get("tool_call_id") or "") if tool else "",
        learned=learned,
    )


def _calls(row: Row, field: str, turn: Mapping[str, object]) -> tuple[ToolCall, ...]:
    for name in ("tool_calls", "function_call"):
        if turn.get(name):
            return calls_of(row, f"{field}.{name}", turn[name])
    return ()


def _named(turn: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    """Return the first of `names` that a turn gives a value for, else the first that it has at all."""
    there = [name for name in names if name in turn]
    return next((name for name in there if turn[name] is not None), there[0] if there else None)


def _learned(row: Row, field: str, turn: Mapping[str, object]) -> bool:
    for name in _LEARNED:
        value = turn.get(name)
        if value is None:
            continue
        if value not in (0, 1, "0", "1"):
            raise wrong(row, f"{field}.{name}", f"is {value!r}", "1 for a turn that is learned, 0 for one that is not")
        return bool(int(cast("str", value)))
    return True


def _content(row: Row, field: str, value: object, media: Media, *, tool: bool) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if tool and (
        isinstance(value, Mapping)
        or (isinstance(value, list) and not any(isinstance(part, Mapping) and "type" in part for part in value))
    ):
        return json.dumps(value, ensure_ascii=False)  # a result as data
    if not isinstance(value, list):
        raise wrong(row, field, f"is {kind_of(value)}", "write it as text, or as a list of parts")
    text = ""
    for place, part in enumerate(value):
        found = _part(row, f"{field}[{place}]", part, media)
        # Two parts are two paragraphs unless they bring their own space.
        text += ("\n" if text and found and not text[-1].isspace() and not found[0].isspace() else "") + found
    return text


def _part(row: Row, field: str, part: object, media: Media) -> str:
    if isinstance(part, str):
        return part
    if _is_media(part):
        if media == "refuse":
            raise media_refused(row, field)
        return ""
    if isinstance(part, Mapping) and part.get("type", "text") in _TEXT_PARTS and isinstance(part.get("text"), str):
        return str(part["text"])
    shown = f"of the type {part.get('type')!r}" if isinstance(part, Mapping) else kind_of(part)
    raise wrong(row, field, f"is {shown}", f"parts are texts: {listed(_TEXT_PARTS[:1])} with 'text'")


def media_refused(row: Row, field: str) -> InvalidData:
    """Return the error for a picture, sound or film that no model here would see."""
    return wrong(
        row,
        field,
        "holds a picture, sound or film, which no model here sees",
        'take the row out, or read its text alone: media="text"',
    )


def _parts(turn: Mapping[object, object]) -> list[object]:
    return [part for name in _WORDS if isinstance(turn.get(name), list) for part in cast("list[object]", turn[name])]


def _is_media(part: object) -> bool:
    if not isinstance(part, Mapping):
        return False
    kind = str(part.get("type") or next(iter(part), ""))
    return any(word in kind for word in _MEDIA_WORDS)
