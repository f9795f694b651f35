"""Dataclasses <-> JSON values, as the store and the pages keep them.

What is written is exact: the fields in their order, and null for a number that JSON lacks. What is read is tolerant: a
field that an older version did not write takes its default, and one that this version does not know is ignored.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")


def to_json(value: object) -> Any:
    """Return JSON values: an object for a dataclass, a list for a tuple, null for a number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    return value


def from_json(kind: type[Kind], content: object) -> Kind:
    """Return the dataclass that `to_json` wrote; what is no JSON object counts as an empty one.

    Raises:
        TypeError: If a field without a default is missing.
    """
    stored = content if isinstance(content, Mapping) else {}
    hints = _hints(cast("Hashable", kind))
    return kind(**{name: _field(name, hint, stored) for name, hint in hints.items() if name in stored})


def _field(name: str, hint: Any, stored: Mapping[str, Any]) -> Any:
    if stored[name] is None and hint is float:
        # An end without bound: below what it bounds, unless that is out of reach itself.
        return -math.inf if name.endswith("low") and stored.get("value", 0.0) is not None else math.inf
    return _value(hint, stored[name])


def _value(hint: Any, stored: Any) -> Any:
    if stored is None:
        return None
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _value(next(part for part in parts if part is not type(None)), stored)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, stored)
    if origin is tuple and isinstance(stored, list | tuple):
        kinds = parts[:1] * len(stored) if parts[-1] is Ellipsis else parts
        return tuple(_value(kind, item) for kind, item in zip(kinds, stored, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(stored, Mapping):
        return {name: _value(parts[1], item) for name, item in stored.items()}
    return datetime.fromisoformat(stored) if hint is datetime else stored


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}
