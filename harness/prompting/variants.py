"""One declared baseline with several instructions or counts -> the baselines that are tried."""

from dataclasses import fields, is_dataclass, replace
from itertools import product
from typing import Any

from harness.types.protocols import Strategy

_VARIED = ("instruction", "shots", "passages")


def variants(strategy: Strategy) -> tuple[Strategy, ...]:
    """Return every combination of the values that `strategy` holds several of; itself if it holds none.

    A count is part of a system's name. A further instruction is numbered: "8-shot, instruction 2".
    """
    if not is_dataclass(strategy):
        return (strategy,)
    varied = [
        declared.name
        for declared in fields(strategy)
        if declared.name in _VARIED and isinstance(getattr(strategy, declared.name), tuple)
    ]
    if not varied:
        return (strategy,)
    found = []
    for chosen in product(*(tuple(enumerate(getattr(strategy, name))) for name in varied)):
        values: dict[str, Any] = {name: value for name, (_, value) in zip(varied, chosen, strict=True)}
        one = replace(strategy, **values)
        found.append(_numbered(one, dict(zip(varied, (place for place, _ in chosen), strict=True))))
    return tuple(found)


def _numbered(strategy: Any, places: dict[str, int]) -> Strategy:
    """Name what the strategy's own name does not tell apart: a label hides counts, and no name tells an instruction."""
    told = [name for name in places if name == "instruction" or strategy.label is not None]
    said = [f"{name} {places[name] + 1}" for name in told if places[name]]
    if not said:
        return strategy  # type: ignore[no-any-return]
    plain = replace(strategy, model=None).name
    return replace(strategy, label=", ".join([plain, *said]))  # type: ignore[no-any-return]
