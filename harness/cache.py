"""Where the harness keeps what it can always make again: converted weights, file hashes, indexes."""

import os
import tempfile
import warnings
from functools import cache
from pathlib import Path

from harness.errors import HarnessError


def cache_folder() -> Path:
    """Return $HARNESS_CACHE, or ~/.cache/harness; the folder is made.

    Without a home folder, or where it cannot be written, it is a folder beside the temporary files, with a warning.

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
