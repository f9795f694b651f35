"""A pointer of Git LFS is told from the content that it stands for."""

from pathlib import Path

from harness.types.files import is_lfs_pointer, is_lfs_pointer_file

_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0\nsize 12\n"


def test_a_pointer_is_told_from_content(tmp_path: Path) -> None:
    (tmp_path / "pointer").write_bytes(_POINTER)
    (tmp_path / "content").write_bytes(b'{"a": "version https://git-lfs.github.com/spec/v1"}\n')

    assert is_lfs_pointer(_POINTER)
    assert not is_lfs_pointer(b"version https://git-lfs.github.com/spec/v1 is what a pointer begins with")
    assert is_lfs_pointer_file(tmp_path / "pointer")
    assert not is_lfs_pointer_file(tmp_path / "content")
    assert not is_lfs_pointer_file(tmp_path / "missing")
