"""What a safety rule found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule and the excerpt that broke it."""

    rule: str
    match: str
