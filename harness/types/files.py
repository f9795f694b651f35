"""Files that are there as a whole or not at all.

Git LFS pointers: small text files that stand where `git lfs pull` would put the real content.
"""

import importlib.util
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace the file at `path` by `text`: a reader never meets half of it, and what stood there stays if this fails.

    Raises:
        OSError: If there is no room, or no right to write.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
    try:
        # What no encoding has, such as half an emoji of a model's, is written by its number.
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)  # mkstemp lets only its owner read
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def package_folder(package: str) -> Path | None:
    """Return the folder of an installed package, None if it is absent; its code is not run."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


_FIRST_LINE = b"version https://git-lfs.github.com/spec/"
_LONGEST_POINTER = 1024


def is_lfs_pointer(content: bytes) -> bool:
    """Tell a pointer from the content that it stands for. content: all bytes of the file, or its first 1,024."""
    return content.startswith(_FIRST_LINE) and b"\noid sha256:" in content[:_LONGEST_POINTER]


def is_lfs_pointer_file(path: Path) -> bool:
    """Tell whether the file at `path` is a pointer; False if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return is_lfs_pointer(stream.read(_LONGEST_POINTER))
    except OSError:
        return False
