"""Git LFS pointers: small text files that stand where `git lfs pull` would put the real content."""

from pathlib import Path

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
