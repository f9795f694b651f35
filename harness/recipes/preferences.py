"""The file of pairs or votes that a recipe may name: checked as a path, keyed by its content."""

from pathlib import Path

from harness.errors import InvalidData
from harness.fingerprint import file_sha256


def as_path(given: object) -> str | None:
    """Return the declared file as text, the form that has a fingerprint; None where there is none."""
    return None if given is None else str(given)


def key_of(path: str | None) -> str | None:
    """Return the sha256 of the file's bytes, None where no file is named.

    Raises InvalidData where the file is missing.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise InvalidData(
            f"{path}: no such file; paths are taken from the folder {Path.cwd()}, and "
            "`harness data pairs EXPERIMENT` writes one from stored answers"
        )
    return file_sha256(Path(path))
