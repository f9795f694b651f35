"""What went wrong with a prompt's tokens, in words: each known way of rendering a prompt wrongly is tried in turn."""

from typing import Any

from harness.samples import Messages
from harness.weights.rendering import prompt_ids, template_tools, template_turns


def prompt_fault(ids: tuple[int, ...], messages: Messages, tokenizer: Any) -> str:
    """Return why `ids` (a row: prompt, then answer) do not begin with the tokens with which `messages` are served.

    tokenizer: the one that serves.
    """
    served = tuple(prompt_ids(tokenizer, messages))
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == (bos, bos) and served[:2] != (bos, bos):
        return "the prompt begins with a double BOS"
    if bos is not None and served[:1] == (bos,) and _begins(ids, served[1:]):
        return "the prompt lacks its BOS"
    if _is_templated(tokenizer, messages) and (fault := _template_fault(ids, messages, tokenizer)) is not None:
        return fault
    if _words_as_tokens(ids, served, tokenizer):
        return "special tokens are spelt out: the prompt has the served text, but its markers are read as plain text"
    place = next((at for at, (one, other) in enumerate(zip(ids, served, strict=False)) if one != other), len(ids))
    return f"the prompt differs from the served one at token {place + 1} of {len(served)}"


def _template_fault(ids: tuple[int, ...], messages: Messages, tokenizer: Any) -> str | None:
    closed = _ids(tokenizer, _without_generation_prompt(tokenizer, messages))
    if _begins(ids, closed):
        return "the generation prompt is missing: the answer follows the question without the assistant's header"
    asked = tuple(message for message in messages if message.role != "system")
    if asked != messages and asked and _begins(ids, tuple(prompt_ids(tokenizer, asked))):
        return "the system prompt is dropped"
    bare = messages[-1].content
    plain = ("\n\n".join(message.content for message in messages), "\n".join(message.content for message in messages))
    if any(_begins(_without(ids, tokenizer.bos_token_id), _ids(tokenizer, text)) for text in (*plain, bare)):
        return "the chat template is bypassed: the prompt is the bare text of the messages"
    return None


def _is_templated(tokenizer: Any, messages: Messages) -> bool:
    return bool(tokenizer.chat_template) and not any(message.verbatim for message in messages)


def _without_generation_prompt(tokenizer: Any, messages: Messages) -> str:
    turns, tools = template_turns(messages), template_tools(messages)
    return str(tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=False))


def _words_as_tokens(ids: tuple[int, ...], served: tuple[int, ...], tokenizer: Any) -> bool:
    """Tell whether the row's text begins as the served text does, although its tokens do not."""
    return bool(tokenizer.decode(ids).startswith(tokenizer.decode(served)))


def _begins(ids: tuple[int, ...], start: tuple[int, ...]) -> bool:
    return bool(start) and ids[: len(start)] == start


def _without(ids: tuple[int, ...], bos: int | None) -> tuple[int, ...]:
    return ids[1:] if bos is not None and ids[:1] == (bos,) else ids


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"])
