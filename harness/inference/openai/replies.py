"""What a server's reply says: text, thoughts, how it ended, tokens; in each form that such servers give it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.inference.models.rendering import SplitReply, thought_apart
from harness.types.samples import Ended, Message, ToolCall

_ENDED: Mapping[str, Ended] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "content_filter": "filter",
    "safety": "filter",
    "recitation": "filter",
    "sensitive": "filter",
    "refusal": "refusal",
    "tool_calls": "tool",
    "tool_use": "tool",
    "function_call": "tool",
}
_TEXT_PARTS = frozenset({"text", "output_text", "input_text"})
_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "reasoning_text", "summary_text", "redacted_thinking"})
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
# Words in the code or type of an error by which servers say that a content filter refused the prompt.
_FILTERS = ("content_filter", "contentfilter", "content_policy", "responsibleai", "data_inspection", "moderation")
_FILTER_CODES = frozenset({"invalid_prompt", "prompt_blocked", "safety", "1301", "sensitive"})


@dataclass(frozen=True)
class ParsedReply:
    """One reply. tokens: (in, out) as the server counts them, None for what it does not.

    Args:
        left_out: Kinds of content that are no text, such as "image_url".
    """

    text: str
    ended: Ended
    reasoning: str = ""
    tokens: tuple[int | None, int | None] = (None, None)
    left_out: tuple[str, ...] = ()


def chat_reply(body: Any, *, tools: bool = False) -> ParsedReply:
    """Return what a /chat/completions body says.

    Args:
        tools: Some were on offer, so that the JSON text of a call is an answer.

    Raises:
        TypeError: If it is none.
        KeyError: If it is none.
        ValueError: If it is none.
    """
    choices = body["choices"]
    if not isinstance(choices, list):
        raise TypeError("choices is no list")
    tokens = _tokens(body.get("usage"))
    if not choices:
        return ParsedReply("", "filter" if _prompt_was_filtered(body) else "empty", tokens=tokens)
    choice = choices[0]
    reason = str(choice.get("finish_reason") or "").casefold()
    message = choice["message"]
    if message is None and reason not in _ENDED:
        raise TypeError("message is null")
    message = message or {}
    text, inside, left_out = _content(message.get("content"))
    beside = [_joined(message.get(name)) for name in _THOUGHT_FIELDS]
    refusal = message.get("refusal")
    # Some servers tell the same thoughts under several names.
    told = "\n\n".join(dict.fromkeys(filter(None, (*beside, inside))))
    apart = SplitReply(told, text) if told else thought_apart(text)
    ended = _ended(reason, message)
    if isinstance(refusal, str) and refusal.strip():
        ended = "refusal"
    said = apart.text if apart.text.strip() or not isinstance(refusal, str) else refusal
    if tools:
        said = Message("assistant", said, calls=tuple(_calls(message.get("tool_calls")))).text
    return ParsedReply(valid_text(said), ended, valid_text(apart.reasoning), tokens, left_out)


def text_reply(body: Any, *, prompt: str) -> ParsedReply:
    """Return what a /completions body says after `prompt`, as rendered.

    Raises:
        TypeError: If it is none.
        KeyError: If it is none.
        ValueError: If it is none.
    """
    choice = body["choices"][0]
    apart = thought_apart(str(choice["text"]), prompt=prompt)
    ended = _ENDED.get(str(choice.get("finish_reason") or "").casefold(), "stop")
    return ParsedReply(valid_text(apart.text), ended, valid_text(apart.reasoning), _tokens(body.get("usage")))


def filtered(body: Any) -> bool:
    """Tell whether an error body says that a content filter refused the prompt."""
    for error in _errors(body):
        told = [str(error.get(name) or "").casefold() for name in ("code", "type", "status")]
        if any(word in one.replace("-", "_") for one in told for word in _FILTERS) or _FILTER_CODES & set(told):
            return True
        metadata = error.get("metadata")
        if isinstance(metadata, dict) and "flagged_input" in metadata:
            return True
    return False


def error_of(body: Any) -> str:
    """Return what a body says went wrong; empty if it is no error."""
    if not isinstance(body, dict) or body.get("choices"):
        return ""
    error = body.get("error")
    return (error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)) if error else ""


def valid_text(text: str) -> str:
    """Return `text` without half characters: JSON may escape a lone surrogate, which no file and no page can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _ended(reason: str, message: Mapping[str, Any]) -> Ended:
    if reason in _ENDED:
        return _ENDED[reason]
    return "tool" if message.get("tool_calls") or message.get("function_call") else "stop"


def _content(content: Any) -> tuple[str, str, tuple[str, ...]]:
    """Return text, thoughts and the kinds of other parts of a message's content: a text, or parts of several kinds."""
    if content is None or isinstance(content, str):
        return content or "", "", ()
    if not isinstance(content, list | dict):
        raise TypeError(f"content is {type(content).__name__}")
    texts: list[str] = []
    thoughts: list[str] = []
    others: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        kind = str(part.get("type") or "text") if isinstance(part, dict) else "text"
        if not isinstance(part, dict | str):
            raise TypeError(f"a part is {type(part).__name__}")
        if kind in _THOUGHT_PARTS or (isinstance(part, dict) and part.get("thought") is True):
            thoughts.append(_joined(part))
        elif kind in _TEXT_PARTS:
            texts.append(_joined(part))
        elif kind == "refusal":
            texts.append(str(part.get("refusal") or "") if isinstance(part, dict) else part)
        else:
            others.append(kind)
    return "".join(texts), "\n\n".join(filter(None, thoughts)), tuple(dict.fromkeys(others))


def _calls(calls: Any) -> Iterator[ToolCall]:
    """Yield the calls of a message; one whose arguments are no object was cut, and is left out."""
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments") or "{}"
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            if _is_json(text):
                yield ToolCall(name=str(function.get("name")), arguments=text, id=str(call.get("id") or ""))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _joined(part: Any) -> str:
    """Return the text of a text, a part, or a list of either."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(_joined(one) for one in part)
    if isinstance(part, dict):
        names = ("text", "thinking", "reasoning", "content", "summary")
        return next((found for name in names if (found := _joined(part.get(name)))), "")
    return ""


def _tokens(usage: Any) -> tuple[int | None, int | None]:
    """Return the tokens in and out; servers leave out either, or all of it."""
    if not isinstance(usage, dict):
        return None, None
    counted = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    found = [int(one) if isinstance(one, int | float) and one >= 0 else None for one in counted]
    return found[0], found[1]


def _prompt_was_filtered(body: Mapping[str, Any]) -> bool:
    feedback = body.get("promptFeedback") or body.get("prompt_feedback")
    if isinstance(feedback, dict) and (feedback.get("blockReason") or feedback.get("block_reason")):
        return True
    results = body.get("prompt_filter_results")
    return isinstance(results, list) and any('"filtered": true' in json.dumps(one) for one in results)


def _errors(body: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the error of a body and those inside it."""
    while isinstance(body, dict):
        yield body
        inner = body.get("error") or body.get("innererror") or body.get("inner_error")
        body = inner if isinstance(inner, dict) else None
