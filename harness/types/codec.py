"""Dataclasses <-> JSON values, as the store and the pages keep them.

What is written is exact: the fields in their order, and null for a number that JSON lacks. What is read is tolerant: a
field that an older version did not write takes its default, and one that this version does not know is ignored.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import Field, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")

_APART, _SPARSE, _STORED = "apart", "sparse", "stored"
# Metadata of a field that is kept elsewhere.
APART: Mapping[str, object] = MappingProxyType({_APART: True})
# Metadata of a field that is left out as long as it has its default.
SPARSE: Mapping[str, object] = MappingProxyType({_SPARSE: True})


def stored_as(name: str) -> Mapping[str, object]:
    """Return the metadata of a field that is stored under another name."""
    return {_STORED: name}


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
        return {
            _stored_name(field): to_json(getattr(value, field.name)) for field in fields(value) if _kept(field, value)
        }
    return value


def from_json(kind: type[Kind], content: object) -> Kind:
    """Return the dataclass that `to_json` wrote; what is no JSON object counts as an empty one.

    Raises:
        TypeError: If a field without a default is missing.
    """
    stored = content if isinstance(content, Mapping) else {}
    hints = _hints(cast("Hashable", kind))
    return kind(**{name: _field(said, hint, stored) for name, (said, hint) in hints.items() if said in stored})


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
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {name: _value(parts[1], item) for name, item in stored.items()} if isinstance(stored, Mapping) else {}
    return datetime.fromisoformat(stored) if hint is datetime else stored


@cache
def _hints(kind: type) -> Mapping[str, tuple[str, Any]]:
    """Return the name and the type under which each field is stored."""
    hints = get_type_hints(kind)
    return {field.name: (_stored_name(field), hints[field.name]) for field in fields(kind)}


def _kept(field: "Field[Any]", value: object) -> bool:
    left_out = _SPARSE in field.metadata and getattr(value, field.name) == field.default
    return not left_out and _APART not in field.metadata


def _stored_name(field: "Field[Any]") -> str:
    return str(field.metadata.get(_STORED, field.name))
