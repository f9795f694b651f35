"""Canonical bytes of declarations, and their sha256: the keys of everything that is cached.

Where the harness keeps what it can always make again: converted weights, file hashes, indexes.
"""

import dataclasses
import hashlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path

from harness.errors import HarnessError, NotFingerprintable

_CHUNK_BYTES = 1 << 20


def fingerprint(value: object) -> str:
    """Return the sha256 (64 hex digits) of the canonical form of `value`.

    Accepted: None, bool, int, finite float, str, Enum, tuple, list, mapping with str keys, frozen dataclass.
    Fields of a dataclass that are declared with `metadata={"key": False}` are left out: they name things
    that do not change what is computed. Those with `metadata={"key": "changed"}` count if they are not their
    default: a class that learns to do more keeps the keys of what it did before.

    Raises:
        NotFingerprintable: Names the path to anything else, since a silent constant would be a stale hit.
    """
    canonical = json.dumps(_canonical(value, "value"), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 (64 hex digits) of the bytes of the file at `path`."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _canonical(value: object, path: str) -> object:
    """Return a JSON value that differs whenever `value` differs in type or content."""
    if isinstance(value, Enum):
        return {"enum": type(value).__qualname__, "name": value.name}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _canonical_float(value, path)
    if isinstance(value, tuple | list):
        return [_canonical(item, f"{path}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, Mapping):
        return _canonical_mapping(value, path)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _canonical_dataclass(value, path)
    raise NotFingerprintable(
        f"{path} is a {type(value).__qualname__}, which has no canonical form; "
        "use None, bool, int, float, str, Enum, tuple, list, a mapping with str keys or a frozen dataclass"
    )


def _canonical_float(value: float, path: str) -> object:
    if not math.isfinite(value):
        raise NotFingerprintable(f"{path} is {value}; only finite numbers have a canonical form")
    return {"float": value.hex()}


def _canonical_mapping(value: Mapping[object, object], path: str) -> object:
    pairs = []
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotFingerprintable(f"{path} has the key {key!r}; only str keys have a canonical form")
        pairs.append([key, _canonical(item, f"{path}[{key!r}]")])
    return {"mapping": sorted(pairs, key=lambda pair: str(pair[0]))}


def _canonical_dataclass(value: object, path: str) -> object:
    kind = type(value)
    if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise NotFingerprintable(f"{path} is a {kind.__qualname__}, a dataclass that is not frozen; add frozen=True")
    fields = [
        [field.name, _canonical(getattr(value, field.name), f"{path}.{field.name}")]
        for field in dataclasses.fields(value)  # type: ignore[arg-type]
        if _counts(field, getattr(value, field.name))
    ]
    return {"dataclass": kind.__qualname__, "fields": fields}


def _counts(field: "dataclasses.Field[object]", value: object) -> bool:
    rule = field.metadata.get("key", True)
    return bool(value != field.default) if rule == "changed" else bool(rule)


def cache_folder() -> Path:
    """Return $HARNESS_CACHE, or ~/.cache/harness; the folder is made.

    Without a home folder, or if it cannot be written, it is a folder beside the temporary files, with a warning.

    Raises:
        HarnessError: If $HARNESS_CACHE is set and cannot be written.
    """
    chosen = os.environ.get("HARNESS_CACHE")
    if chosen:
        return _chosen(Path(chosen))
    try:
        home: Path | None = Path.home()
    except RuntimeError:  # no HOME, and no entry for this user
        home = None
    return _own(home)


def why_unwritable(folder: Path) -> str:
    """Return why nothing can be written into `folder`, which is made if it is missing; empty if something can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"probe")
    except OSError as error:
        return error.strerror or str(error)
    return ""


@cache
def _chosen(folder: Path) -> Path:
    why = why_unwritable(folder)
    if why:
        raise HarnessError(f"HARNESS_CACHE={folder} cannot be written ({why}); set it to a folder that can")
    return folder


@cache
def _own(home: Path | None) -> Path:
    folder = home / ".cache" / "harness" if home else None
    why = why_unwritable(folder) if folder else "this user has no home folder"
    if folder and not why:
        return folder
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "me")
    other = Path(tempfile.gettempdir()) / f"harness-cache-{user}"
    why_not = why_unwritable(other)
    if why_not:
        raise HarnessError(
            f"there is no place for a cache: {folder or '~'}: {why}; {other}: {why_not}; set HARNESS_CACHE to a folder "
            "that can be written"
        )
    warnings.warn(f"the cache is kept in {other} ({why}); set HARNESS_CACHE to a folder that stays", stacklevel=3)
    return other
