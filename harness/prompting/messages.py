"""What every strategy declares alike: its name, its instruction, its model.

Conversations as values: the system turns, the shots, the last question.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias, TypeVar

from harness.errors import InvalidExperiment
from harness.types.models import AnyModel, as_model
from harness.types.samples import Message, Messages

Value = TypeVar("Value")
# One value, or several of which the experiment takes the best on DEV.
Several: TypeAlias = Value | tuple[Value, ...]


def system_name(strategy: str, *, label: str | None, model: str | AnyModel | None) -> str:
    """Return how tables and pages call the system: `label` or `strategy`, and the model if it has its own."""
    said = label or strategy
    return said if model is None else f"{said} @ {as_model(model).name}"


def check_text(owner: str, name: str, text: Several[str | None]) -> None:
    """Raise InvalidExperiment if a given text is blank: None, not "", says that there is none."""
    for one in _each(owner, name, text):
        if one is not None and not one.strip():
            raise InvalidExperiment(f"{owner}({name}={one!r}) says nothing; leave {name} out or write it")


def check_count(owner: str, name: str, count: Several[int]) -> None:
    """Raise InvalidExperiment if `count` is below 1."""
    for one in _each(owner, name, count):
        if one < 1:
            raise InvalidExperiment(
                f"{owner}({name}={one}): at least 1 is needed; ZeroShot() is the strategy without any"
            )


def single(owner: str, name: str, value: Several[Value]) -> Value:
    """Return a field's one value; raise InvalidExperiment if it holds several that only an experiment tries."""
    if isinstance(value, tuple):
        raise InvalidExperiment(
            f"{owner}({name}={value!r}) holds several to choose from, which only a baseline of an Experiment can; "
            "give the one that is meant"
        )
    return value


def _each(owner: str, name: str, value: Several[Value]) -> tuple[Value, ...]:
    values = value if isinstance(value, tuple) else (value,)
    if not values:
        raise InvalidExperiment(f"{owner}({name}=()) is empty; give one or several")
    if len(set(values)) < len(values):
        raise InvalidExperiment(f"{owner}({name}={value!r}) holds one of them twice; leave it out")
    return values


def check_choice(owner: str, name: str, choice: str, *, allowed: tuple[str, ...]) -> None:
    """Raise InvalidExperiment if `choice` is none of `allowed`."""
    if choice not in allowed:
        raise InvalidExperiment(f"{owner}({name}={choice!r}): {name} is one of {', '.join(map(repr, allowed))}")


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

    Raises:
        InvalidExperiment: If no user speaks; the message names `owner`.
    """
    for place in reversed(range(len(messages))):
        if messages[place].role == "user":
            wrapped = replace(messages[place], content=wrap(messages[place].content))
            return (*messages[:place], wrapped, *messages[place + 1 :])
    raise InvalidExperiment(f"{owner}: the prompt has no user message; let task.prompt() end with one")
