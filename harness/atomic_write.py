"""Files that are there as a whole or not at all."""

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
