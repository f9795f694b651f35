"""Tools in a row: which are on offer, which are called, in the forms of OpenAI, Hugging Face and LLaMA-Factory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.data.fields import kind_of, wrong
from harness.data.literals import as_list, as_mapping
from harness.data.row import Row
from harness.samples import Messages, ToolCall


def tools_of(row: Row, field: str) -> str:
    """Return the JSON text of the tools that a field lists, "" for none.

    The list may be written as text, and a tool bare ({"name": ...}) or within {"type": "function", "function": ...}.
    """
    value = row.values.get(field)
    if value is None or (isinstance(value, str | list | dict) and not value):
        return ""
    given = as_list(value)
    if given is None:
        single = as_mapping(value)
        if single is None:
            raise wrong(row, field, f"is {kind_of(value)}", 'write the tools as a list of {"name", "parameters"}')
        given = [single]
    found = [_tool(row, f"{field}[{place}]", tool) for place, tool in enumerate(given)]
    return json.dumps(found, ensure_ascii=False) if found else ""


def calls_of(row: Row, field: str, value: object) -> tuple[ToolCall, ...]:
    """Return the calls in a turn's "tool_calls", "function_call", or in the words of a turn that is a call."""
    given = as_list(value)
    if given is None:
        single = as_mapping(value)
        if single is None:
            raise wrong(row, field, f"is {_shown(value)}", 'write a call as {"name": ..., "arguments": {...}}')
        given = [single]
    return tuple(_call(row, f"{field}[{place}]" if len(given) > 1 else field, one) for place, one in enumerate(given))


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
        raise wrong(row, field, f"is {_shown(value)}", 'write a call as {"name": ..., "arguments": {...}}')
    inner = call["function"] if isinstance(call.get("function"), Mapping) else call
    assert isinstance(inner, Mapping)
    name, arguments = inner.get("name"), inner.get("arguments", inner.get("parameters"))
    if not isinstance(name, str) or not name:
        raise wrong(row, field, "has no name", 'write a call as {"name": ..., "arguments": {...}}')
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
