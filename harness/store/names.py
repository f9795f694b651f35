"""What an experiment is called: its file's name, with folders before it if another experiment has that name.

The name is kept with the file when an experiment first runs, so that it stays the same in whatever company the file is
collected later, and two files never share a page, a row or a history.
"""

import json
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InvalidExperiment
from harness.store.database import transaction
from harness.types.files import write_whole

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


# index.html is the list of all experiments; the others are devices of Windows, whatever their ending.
_RESERVED = {"index", "con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
_PYTHON = ""


@dataclass(frozen=True)
class _Holder:
    """Who has a name. file: None if it was stored by an older version, which kept `shown` only."""

    name: str
    file: str | None
    shown: str
    question: str | None

    def path(self, store: Path, root: Path) -> Path | None:
        """Return the experiment's file; None if it was run from Python. root: where files are shown from."""
        if self.file is not None:
            return store.parent / self.file if self.file != _PYTHON else None
        return root / self.shown if self.shown else None


def claim_name(store: Path, file: Path, *, shown: Path, question: str, others: Sequence[Path] = ()) -> str:
    """Return the name of the experiment in `file`, kept for it in `store` from now on.

    A file that was moved takes its experiment along: the old file is gone and the question is the same.

    Args:
        store: The database.
        file: The experiment file.
        shown: The file as the report names it.
        question: The experiment's.
        others: Files of this session that have the same name in other folders.
    """
    own = _relative(file, store)
    with transaction(store) as connection:
        root = _root(file, shown)
        taken = set()
        for holder in _holders(connection):
            path = holder.path(store, root)
            if path is not None and path.resolve() == file.resolve():
                return _keep(connection, store, holder.name, own)
            if path is None or path.exists() or holder.question not in (None, question):
                taken.add(_folded(holder.name))
        name = next(name for name in _candidates(file, others) if _folded(name) not in taken)
        return _keep(connection, store, name, own)


def claim_name_in_python(store: Path, name: str, *, question: str, chosen: bool) -> str:
    """Return `name`, kept in `store` for an experiment that has no file.

    Args:
        store: The database.
        name: What the experiment is to be called.
        question: The experiment's.
        chosen: The caller asked for this name, so that a question that changed is the same experiment's.

    Raises:
        InvalidExperiment: If a file's experiment, or one with another question, is called so.
    """
    check_name(name)
    with transaction(store) as connection:
        for holder in _holders(connection):
            if _folded(holder.name) != _folded(name):
                continue
            where = holder.file if holder.file is not None else holder.shown
            if where != _PYTHON:
                raise InvalidExperiment(
                    f"{store} has an experiment {holder.name!r} from the file {holder.shown or where}; give this one "
                    "another name: harness.run(experiment, name=...)"
                )
            if not chosen and holder.question not in (None, question):
                raise InvalidExperiment(
                    f"{store} has an experiment {holder.name!r} with another question ({holder.question!r}); give this "
                    f"one a name, or {holder.name!r} itself to replace it: harness.run(experiment, name=...)"
                )
            name = holder.name
        return _keep(connection, store, name, _PYTHON)


def expected_name(store: Path, file: Path, *, others: Sequence[Path] = ()) -> str:
    """Return what `file` is or will be called, without opening the database."""
    try:
        kept = json.loads(_names_path(store).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    own = _relative(file, store)
    taken = {}
    if isinstance(kept, dict):
        taken = {_folded(str(name)): str(path) for name, path in kept.items()}
        for name, path in kept.items():
            if path == own:
                return str(name)
    gone = {name for name, path in taken.items() if path != _PYTHON and not (store.parent / path).exists()}
    return next(name for name in _candidates(file, others) if _folded(name) not in taken.keys() - gone)


def check_name(name: str) -> None:
    """Raise InvalidExperiment if a page cannot be called `name`."""
    if _folded(name) in _RESERVED:
        raise InvalidExperiment(f"an experiment cannot be called {name!r}: {_why_reserved(name)}; give it another name")
    if (
        not name.strip()
        or name != name.strip()
        or name.startswith(".")
        or any(letter in name for letter in '/\\:*?"<>|')
    ):
        raise InvalidExperiment(
            f"an experiment cannot be called {name!r}, since its page is named so; use letters and _"
        )


def _why_reserved(name: str) -> str:
    return "index.html lists all experiments" if _folded(name) == "index" else "it names a device of Windows"


def _candidates(file: Path, others: Sequence[Path]) -> Iterator[str]:
    """Yield names from the file's own on, each with one folder more, none that another file has as much right to."""
    for depth in range(len(file.parent.parts)):
        name = _qualified(file, depth)
        if _folded(name) not in _RESERVED and _folded(name) not in {_folded(_qualified(o, depth)) for o in others}:
            yield name
    number = 2
    while True:
        yield f"{_qualified(file, 0)}-{number}"
        number += 1


def _qualified(file: Path, depth: int) -> str:
    folders = file.parent.parts[max(0, len(file.parent.parts) - depth) :] if depth else ()
    name = "-".join([*folders, file.stem])
    # A file's name may hold bytes that are no text, which no page can show.
    return name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\\", "_")


def _root(file: Path, shown: Path) -> Path:
    """Return the folder from which `file` is `shown`."""
    return Path() if shown.is_absolute() else Path(*file.parts[: len(file.parts) - len(shown.parts)])


def _folded(name: str) -> str:
    """Two names that some file system takes for one are one."""
    return unicodedata.normalize("NFC", name).casefold()


def _relative(file: Path, store: Path) -> str:
    """Return the file as seen from the store, so that a project that is copied or moved keeps its names."""
    file, folder = file.resolve(), store.parent.resolve()
    try:
        path = Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive
        path = file.as_posix()
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _holders(connection: "DuckDBPyConnection") -> list[_Holder]:
    found = connection.execute(
        "SELECT coalesce(f.experiment, e.name), f.file, coalesce(e.declaration ->> 'file', ''), e.question "
        "FROM experiment_files AS f FULL JOIN experiments AS e ON e.name = f.experiment ORDER BY 1"
    ).fetchall()
    return [_Holder(str(name), file, str(shown), question) for name, file, shown, question in found]


def _keep(connection: "DuckDBPyConnection", store: Path, name: str, file: str) -> str:
    connection.execute("INSERT OR REPLACE INTO experiment_files VALUES (?, ?)", [name, file])
    _write_names(connection, store)
    return name


def _names_path(store: Path) -> Path:
    """A JSON object of names and files, so that collecting need not open the database."""
    return store.with_suffix(".names.json")


def _write_names(connection: "DuckDBPyConnection", store: Path) -> None:
    kept: Mapping[str, str] = dict(
        connection.execute("SELECT experiment, file FROM experiment_files ORDER BY experiment").fetchall()
    )
    write_whole(_names_path(store), json.dumps(kept))
