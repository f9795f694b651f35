"""Conversations as values: the system turns, the shots, the last question."""

from collections.abc import Callable
from dataclasses import replace

from harness.errors import InvalidExperiment
from harness.samples import Message, Messages


def split_system(messages: Messages) -> tuple[Messages, Messages]:
    """Return the leading system turns and what follows them."""
    leading = 0
    while leading < len(messages) and messages[leading].role == "system":
        leading += 1
    return messages[:leading], messages[leading:]


def with_instruction(messages: Messages, instruction: str | None) -> Messages:
    """Put `instruction` in place of the leading system turns; None leaves the conversation as it is."""
    if instruction is None:
        return messages
    return (Message("system", instruction), *split_system(messages)[1])


def with_last_user(messages: Messages, wrap: Callable[[str], str], *, owner: str) -> Messages:
    """Return the conversation with `wrap` applied to the content of its last user turn.

    Raises InvalidExperiment, naming `owner`, where no user speaks.
    """
    for place in reversed(range(len(messages))):
        if messages[place].role == "user":
            wrapped = replace(messages[place], content=wrap(messages[place].content))
            return (*messages[:place], wrapped, *messages[place + 1 :])
    raise InvalidExperiment(f"{owner}: the prompt has no user message; let task.prompt() end with one")
