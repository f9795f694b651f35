"""What a metric that runs a model depends on besides its declaration: files and package versions."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.fingerprint import file_sha256, fingerprint


def content_key(source: str | None, *, packages: Sequence[str]) -> str:
    """Return a sha256 over the files of a local `source` (a file or a folder) and the versions of `packages`.

    A source that is not here, such as a hub id, counts by its name alone.
    """
    path = Path(source) if source is not None else None
    files: dict[str, str] = {}
    if path is not None and path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.is_file() and "__pycache__" not in item.parts)
        files = {str(item.relative_to(path)): file_sha256(item) for item in found}
    elif path is not None and path.is_file():
        files = {path.name: file_sha256(path)}
    return fingerprint([None if files else source, files, {package: _version(package) for package in packages}])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
