"""What every strategy declares alike: its name, its instruction, its model."""

from harness.errors import InvalidExperiment
from harness.models import AnyModel, as_model


def system_name(strategy: str, *, label: str | None, model: str | AnyModel | None) -> str:
    """Return how tables and pages call the system: `label` or `strategy`, and the model where it has its own."""
    said = label or strategy
    return said if model is None else f"{said} @ {as_model(model).name}"


def check_text(owner: str, name: str, text: str | None) -> None:
    """Raise InvalidExperiment where a given text is blank: None, not "", says that there is none."""
    if text is not None and not text.strip():
        raise InvalidExperiment(f"{owner}({name}={text!r}) says nothing; leave {name} out or write it")


def check_count(owner: str, name: str, count: int) -> None:
    """Raise InvalidExperiment where `count` is below 1."""
    if count < 1:
        raise InvalidExperiment(
            f"{owner}({name}={count}): at least 1 is needed; ZeroShot() is the strategy without any"
        )


def check_choice(owner: str, name: str, choice: str, *, allowed: tuple[str, ...]) -> None:
    """Raise InvalidExperiment where `choice` is none of `allowed`."""
    if choice not in allowed:
        raise InvalidExperiment(f"{owner}({name}={choice!r}): {name} is one of {', '.join(map(repr, allowed))}")
