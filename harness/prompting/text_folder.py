"""A folder of text files as passages."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InvalidData, InvalidExperiment
from harness.git_lfs import is_lfs_pointer
from harness.samples import Passage

SUFFIXES = (".txt", ".md")
CHARACTERS = 1000

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")


def read_passages(folder: Path, *, characters: int = CHARACTERS) -> list[Passage]:
    """Return the texts of a folder and the folders in it, cut at paragraphs.

    characters: at most so many a passage; short paragraphs share one, a longer paragraph is cut after a sentence,
    else between words. Ids are "path/in/folder.md#1", counted from 1; files come in the order of their paths.

    Raises InvalidExperiment where the folder is missing or holds no text, and InvalidData where a file is not UTF-8,
    cannot be read, or is a Git LFS pointer.
    """
    if not folder.is_dir():
        raise InvalidExperiment(
            f"RAG(folder={str(folder)!r}): there is no such folder; give one that holds .txt or .md"
        )
    files = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    passages = [
        Passage(id=f"{path.relative_to(folder).as_posix()}#{number}", text=text)
        for path in sorted(files)
        for number, text in enumerate(chunks(_read(path), characters), start=1)
    ]
    if not passages:
        raise InvalidExperiment(f"RAG(folder={str(folder)!r}): no text in it; put .txt or .md files there")
    return passages


def chunks(text: str, characters: int) -> Iterator[str]:
    """Yield `text` in pieces of at most `characters`, whole paragraphs where they fit."""
    held = ""
    for paragraph in _PARAGRAPH.split(text.strip()):
        for piece in _pieces(paragraph, characters):
            if held and len(held) + 2 + len(piece) > characters:
                yield held
                held = ""
            held = f"{held}\n\n{piece}" if held else piece
    if held:
        yield held


def _pieces(paragraph: str, characters: int) -> list[str]:
    """Cut a long paragraph after the last sentence in the second half of a piece, else between words, else anywhere."""
    if len(paragraph) <= characters:
        return [paragraph] if paragraph else []
    sentence = rf".{{{characters // 2},{characters}}}(?:(?<=[。！？])|(?<=[.!?])(?=\s)|$)"
    cut = re.compile(rf"{sentence}|.{{1,{characters}}}(?=\s|$)|.{{1,{characters}}}", re.DOTALL)
    return [piece.strip() for piece in cut.findall(paragraph) if piece.strip()]


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidData(f"{path}: cannot be read: {error.strerror}; check its permissions") from None
    if is_lfs_pointer(content):
        raise InvalidData(f"{path}: is a Git LFS pointer, and the text is not here; run git lfs pull in its folder")
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
