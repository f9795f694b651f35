"""Rows of a folder: of the shards of one data set, or of text files, each a row."""

import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from harness.data.files.bytes import check_file_name, read_bytes, unpacked_name
from harness.data.files.encodings import decode
from harness.data.files.row import DataFile, Note, Row, listed
from harness.errors import InvalidData

_TEXTS = (".txt", ".md")
_ABOUT = re.compile(r"(readme|license|licence|changelog|dataset_infos?|dataset_dict|state|metadata)\b.*", re.IGNORECASE)
_SHARD = re.compile(r"(.*?)-?(\d{4,6})-of-(\d{4,6})(.*)")
_SPLIT = re.compile(r"(?:^|[^a-z])(train|training|test|testing|validation|valid|val|dev|eval|holdout)(?![a-z])")
_SPLIT_NAMES = {
    "training": "train",
    "testing": "test",
    "valid": "validation",
    "val": "validation",
    "eval": "validation",
}


def read_folder(folder: Path, *, endings: Collection[str], read: Callable[[Path], DataFile]) -> DataFile:
    """Return the rows of the files in `folder`, in the order of their names.

    Files with one of `endings` are read by `read`, and have to be shards of one set. Text files are a row each: `id` is
    the name, `text` the content and, if they stand in folders within this one, `label` is the name of their folder.
    Names that begin with a dot are passed over, and so are README, LICENSE and the descriptions that `datasets` writes.

    Raises:
        InvalidData: If the files are of several kinds or splits, if a shard is missing, or if there are none.
    """
    files = _files(folder)
    data = [file for file in files if Path(unpacked_name(file)).suffix in endings]
    texts = [file for file in files if file.suffix.lower() in _TEXTS]
    others = len(files) - len(data) - len(texts)
    if data and texts:
        raise InvalidData(
            f"{folder}: holds data files ({data[0].name}) and text files ({texts[0].name}); give those that are meant"
        )
    if not data and not texts:
        raise InvalidData(
            f"{folder}: is a folder without data files ({', '.join(endings)}) or text files ({', '.join(_TEXTS)}); "
            "give a file, or a folder that holds some"
        )
    # A text's own name says nothing about splits: a note called test.txt is a note.
    _check_splits(folder, data or [text.parent for text in texts if text.parent != folder])
    read_files = _shards(folder, data, read) if data else _texts(folder, texts)
    kind = "files" if data else "text files, each a row"
    notes = [Note(str(folder), "read_as", f"is a folder; read were {len(data or texts):,} {kind}", len(data or texts))]
    if others:
        notes.append(Note(str(folder), "left_out", f"{others:,} files of other kinds were left out", others))
    return DataFile(read_files.rows, (*notes, *read_files.notes), read_files.unreadable)


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which part-2 stands before part-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _files(folder: Path) -> list[Path]:
    """Return the files in `folder` and below; links to folders are not followed, as they may lead back."""
    found = []
    problems: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=problems.append):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        found += [Path(place) / name for name in names if not name.startswith(".") and not _ABOUT.fullmatch(name)]
    if problems:
        raise InvalidData(f"{problems[0].filename}: cannot be listed: {problems[0].strerror}; check its permissions")
    for file in found:
        check_file_name(file)
    return sorted(found, key=lambda file: natural(file.relative_to(folder).as_posix()))


def _check_splits(folder: Path, files: Sequence[Path]) -> None:
    """Refuse a folder that holds several splits: read as one, the holdout would be trained on."""
    splits: dict[str, Path] = {}
    for file in files:
        found = _SPLIT.findall(file.relative_to(folder).as_posix().lower())
        for name in found:
            splits.setdefault(_SPLIT_NAMES.get(name, name), file)
    if len(splits) > 1:
        raise InvalidData(
            f"{folder}: holds several splits ({', '.join(splits)}), such as {next(iter(splits.values())).name}; give "
            "the files or folders of each as train=, dev= and holdout="
        )


def _shards(folder: Path, files: Sequence[Path], read: Callable[[Path], DataFile]) -> DataFile:
    kinds = sorted({Path(unpacked_name(file)).suffix for file in files})
    if len(kinds) > 1:
        raise InvalidData(f"{folder}: holds files of several kinds ({', '.join(kinds)}); give the files that are meant")
    _check_shards(folder, files)
    parts = [read(file) for file in files]
    return DataFile(
        tuple(row for part in parts for row in part.rows),
        tuple(note for part in parts for note in part.notes),
        tuple(line for part in parts for line in part.unreadable),
    )


def _check_shards(folder: Path, files: Sequence[Path]) -> None:
    """Refuse a set of which a shard is missing: names like train-00000-of-00002 say how many there are."""
    shards: dict[tuple[str, str, int], set[int]] = {}
    for file in files:
        found = _SHARD.fullmatch(file.relative_to(folder).as_posix())
        if found:
            shards.setdefault((found[1], found[4], int(found[3])), set()).add(int(found[2]))
    for (before, after, count), numbers in shards.items():
        # Most number their shards from 0, some from 1.
        first = 1 if count in numbers else 0
        missing = sorted(set(range(first, first + count)) - numbers)
        if missing:
            name = f"{before}-{missing[0]:05d}-of-{count:05d}{after}"
            raise InvalidData(
                f"{folder}: {len(missing):,} of {count:,} shards are missing, first {name}; copy or download them again"
            )


def _texts(folder: Path, files: Sequence[Path]) -> DataFile:
    """Return a row for each text file; the folders just within `folder` are classes if all files stand in one."""
    classes = all(file.parent != folder for file in files)
    rows, notes = [], []
    for number, file in enumerate(files, start=1):
        decoded = decode(read_bytes(file), file)
        if not decoded.sure:
            notes.append(Note(str(file), "encoding", f"was read as {decoded.encoding}, with {decoded.example!r} in it"))
        name = file.relative_to(folder).as_posix()
        label = {"label": file.parent.name} if classes else {}
        rows.append(Row(str(folder), number, {"id": name, "text": _with_line_feeds(decoded.text), **label}))
    if classes:
        labels = sorted({str(row.values["label"]) for row in rows})
        notes.append(Note(str(folder), "place", f"the label of a text is the name of its folder: {listed(labels)}"))
    return DataFile(tuple(rows), tuple(notes))


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
