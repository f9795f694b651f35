"""Messages -> prompt tokens, answers -> tokens: the one place that training and serving share.

Tokenizers are `transformers` fast tokenizers. A prompt's tokens and an answer's tokens are made apart and joined
as ids, so that a training row begins with exactly the ids that are served.

What a model thought aloud, apart from what it answered: by the markers that chat templates put around thoughts.
"""

import json
from dataclasses import replace
from typing import Any, NamedTuple

from harness.errors import StageFailed
from harness.types.chat_templates import REFUSALS
from harness.types.samples import Message, Messages, tools_on_offer

_PROBE = "qzqx"


def prompt_text(tokenizer: Any, messages: Messages) -> str:
    """Return the text a model continues: its chat template's, else the contents parted by blank lines.

    A conversation that holds a verbatim message is plain text under any tokenizer. One that ends with a turn of the
    assistant is continued within that turn.

    Raises:
        StageFailed: If the template refuses the messages (some know no system role), or leaves out tools or calls.
    """
    if _is_plain(tokenizer, messages):
        if tools_on_offer(messages) or any(message.calls for message in messages):
            raise _no_tools(tokenizer, messages, "has no chat template, so nothing says how tools are shown")
        return "".join(message.content if message.verbatim else f"{message.content}\n\n" for message in messages)
    text = _templated(tokenizer, messages, answer_follows=True)
    for bare, what in _without_tools(messages):
        if _left_out(tokenizer, bare, text):
            raise _no_tools(tokenizer, messages, f"has a chat template that leaves out {what}")
    return text


def template_refusal(tokenizer: Any, messages: Messages) -> str | None:
    """Return why the chat template refuses `messages`, in its own words; None if it renders them."""
    try:
        prompt_text(tokenizer, messages)
    except StageFailed as error:
        return " ".join(str(error.__cause__ or error).split())
    return None


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Return the tokens of `prompt_text`.

    A template writes its own special tokens, so none are added to its text; plain text gets what the tokenizer
    puts in front of any text (a BOS, or nothing), and no end token. A prompt without any token is a BOS or, where
    there is none, the EOS token: an answer's first token is predicted from something.
    """
    text = prompt_text(tokenizer, messages)
    if not _is_plain(tokenizer, messages):
        return _plain_ids(tokenizer, text)
    ids = _leading_ids(tokenizer) + _plain_ids(tokenizer, text)
    return ids or [end_id(tokenizer) if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)]


def closed_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Return the tokens of a conversation in which nobody is to speak next, as the chat template writes it."""
    return _plain_ids(tokenizer, _templated(tokenizer, messages, answer_follows=False))


def answer_ids(tokenizer: Any, text: str, *, end: bool) -> list[int]:
    """Return the tokens of an answer; `end` appends the token that ends the model's turn."""
    return _plain_ids(tokenizer, text) + ([end_id(tokenizer)] if end else [])


def end_id(tokenizer: Any) -> int:
    """Return the token that ends an answer: what the chat template writes after one, else the EOS token.

    Some models' EOS token is not their template's end of turn, and a model trained on the wrong one never stops.

    Raises:
        StageFailed: If the tokenizer has neither.
    """
    if tokenizer.chat_template:
        conversation = (Message("user", "?"), Message("assistant", _PROBE))
        after = _templated(tokenizer, conversation, answer_follows=False).rpartition(_PROBE)[2]
        first = _plain_ids(tokenizer, after.lstrip())[:1]
        if first and first[0] in _special_ids(tokenizer):
            return first[0]
    if tokenizer.eos_token_id is None:
        raise StageFailed(f"the tokenizer of {tokenizer.name_or_path} has no EOS token; set eos_token in its config")
    return int(tokenizer.eos_token_id)


def template_turns(messages: Messages) -> list[dict[str, Any]]:
    """Return the messages as chat templates take them: arguments of calls as objects."""
    turns = []
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.loads(call.arguments)},
                }
                for call in message.calls
            ]
        if message.name:
            turn["name"] = message.name
        if message.call_id:
            turn["tool_call_id"] = message.call_id
        turns.append(turn)
    return turns


def template_tools(messages: Messages) -> list[Any] | None:
    """Return the tools on offer as chat templates take them, None for none."""
    tools = tools_on_offer(messages)
    return list(json.loads(tools)) if tools else None


def _without_tools(messages: Messages) -> list[tuple[Messages, str]]:
    """Return the conversation without its tools and without its calls, each if it has some."""
    found = []
    if tools_on_offer(messages):
        found.append((tuple(replace(message, tools="") for message in messages), "the tools on offer"))
    if any(message.calls for message in messages):
        found.append((tuple(replace(message, calls=()) for message in messages), "the calls of tools"))
    return found


def _left_out(tokenizer: Any, bare: Messages, text: str) -> bool:
    """Tell whether `text` is what the template writes without the tools too."""
    try:
        return _templated(tokenizer, bare, answer_follows=True) == text
    except StageFailed:  # a template that misses the calls has read them
        return False


def _no_tools(tokenizer: Any, messages: Messages, fact: str) -> StageFailed:
    asked = next((message.content for message in messages if message.role == "user"), "")
    return StageFailed(
        f"{tokenizer.name_or_path} {fact}, in the conversation that begins {asked[:60]!r}; "
        "use a model whose template renders tools, or write tools and calls into the texts of the rows"
    )


def _is_plain(tokenizer: Any, messages: Messages) -> bool:
    return not tokenizer.chat_template or any(message.verbatim for message in messages)


def _templated(tokenizer: Any, messages: Messages, *, answer_follows: bool) -> str:
    begun = answer_follows and messages[-1].role == "assistant"
    try:
        return str(
            tokenizer.apply_chat_template(
                template_turns(messages),
                tools=template_tools(messages),
                tokenize=False,
                add_generation_prompt=answer_follows and not begun,
                continue_final_message=begun,
            )
        )
    except REFUSALS as error:
        roles = ", ".join(message.role for message in messages)
        raise StageFailed(
            f"the chat template of {tokenizer.name_or_path} refuses the roles ({roles}): {error}; "
            "change the prompt's turns, or give the tokenizer another chat template"
        ) from error


def _plain_ids(tokenizer: Any, text: str) -> list[int]:
    return [int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]


def _leading_ids(tokenizer: Any) -> list[int]:
    """Return the special tokens that the tokenizer itself puts before a text."""
    bare = _plain_ids(tokenizer, _PROBE)
    dressed = [int(token) for token in tokenizer(_PROBE)["input_ids"]]
    for start in range(len(dressed) - len(bare) + 1):
        if dressed[start : start + len(bare)] == bare:
            return dressed[:start]
    return []


def _special_ids(tokenizer: Any) -> set[int]:
    added = tokenizer.added_tokens_decoder
    return {*tokenizer.all_special_ids, *(token for token, entry in added.items() if entry.special)}


# Opening and closing marker of each family of models that thinks between markers.
MARKERS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)


class SplitReply(NamedTuple):
    """reasoning: empty if nothing was thought aloud. text: the answer behind it."""

    reasoning: str
    text: str


def thought_apart(said: str, *, prompt: str | None = None) -> SplitReply:
    """Return the thoughts that `said` begins with, and the answer behind them.

    A thought that does not close is all thought, and the answer is empty: it was cut. Markers in the middle of an
    answer are its own.

    Args:
        prompt: As rendered; its template may have opened the thought. None is not known, as of a server: then a
            closing marker without its opening one ends a thought.
    """
    for opening, closing in MARKERS:
        begun = said.lstrip()
        if begun.startswith(opening):
            return _closed(begun[len(opening) :], opening, closing)
        if _opened_before(said, opening, closing, prompt):
            return _closed(said, opening, closing)
    return SplitReply("", said)


def marker_tokens(tokenizer: Any) -> frozenset[int]:
    """Return the special tokens that markers are made of: decoding must not leave them out as it does others."""
    markers = "".join(marker for pair in MARKERS for marker in pair)
    return frozenset(
        int(token)
        for token, entry in tokenizer.added_tokens_decoder.items()
        if entry.special and len(entry.content) > 1 and entry.content in markers
    )


def _closed(inside: str, opening: str, closing: str) -> SplitReply:
    thoughts: list[str] = []
    while True:
        thought, _, text = inside.partition(closing)
        thoughts.append(thought.strip())
        text = text.lstrip()
        if not text.startswith(opening):
            return SplitReply("\n\n".join(filter(None, thoughts)), text)
        inside = text[len(opening) :]


def _opened_before(said: str, opening: str, closing: str, prompt: str | None) -> bool:
    if said.lstrip().startswith(closing):
        return True
    if prompt is not None:
        return prompt.rstrip().endswith(opening)
    before, closed, _ = said.partition(closing)
    return bool(closed) and opening not in before
