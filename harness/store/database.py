"""Opening reports/results.duckdb: one lock, one transaction, closed again.

DuckDB lets one process hold the file and refuses every other meanwhile, readers included. So a connection
lives for one transaction under a file lock, and never while a model runs.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from harness.errors import StageFailed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCHEMA_VERSION = 4
_LOCK_SECONDS = 120.0
# Others that open the file without our lock (a notebook, the duckdb shell) are waited for this long.
_FOREIGN_LOCK_TRIES = 40


@contextmanager
def transaction(path: Path) -> Iterator["DuckDBPyConnection"]:
    """Yield a connection inside one transaction: committed at the end, rolled back if the block raises.

    Creates the file and brings an older schema up to date. Raises StageFailed when another process keeps the file.
    """
    with _locked(path), closing(_connect(path)) as connection:
        _migrate(connection, path)
        connection.begin()
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


@contextmanager
def reading(path: Path) -> Iterator["DuckDBPyConnection"]:
    """Yield a connection that cannot change the file, for SQL that others write.

    A transaction to roll back would not do: the SQL itself may hold a COMMIT. Raises as `transaction` does.
    """
    with _locked(path):
        with closing(_connect(path)) as connection:
            _migrate(connection, path)
        with closing(_connect(path, read_only=True)) as connection:
            yield connection


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + ".lock"), timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise StageFailed(f"{path} stayed locked for {_LOCK_SECONDS:.0f} s; end the process that holds it") from error
    try:
        yield
    finally:
        lock.release()


def _connect(path: Path, *, read_only: bool = False) -> "DuckDBPyConnection":
    # Imported where it is used, in all of the store: a module that still holds duckdb's classes when the interpreter
    # ends makes nanobind print a page about leaks.
    import duckdb

    for attempt in range(_FOREIGN_LOCK_TRIES):
        try:
            return duckdb.connect(str(path), read_only=read_only)
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise StageFailed(
                    f"{path} cannot be opened ({str(error).splitlines()[0]}); "
                    "if it is damaged, move it away and run again: what it held is then measured anew"
                ) from error
            if attempt == _FOREIGN_LOCK_TRIES - 1:
                raise StageFailed(
                    f"{path} is open in another program ({str(error).splitlines()[0]}); close it and run again, "
                    "the run resumes where it stopped"
                ) from error
            time.sleep(0.25)
    raise AssertionError("unreachable")


def _migrate(connection: "DuckDBPyConnection", path: Path) -> None:
    """Bring the schema to SCHEMA_VERSION, one numbered file after another, each in a transaction."""
    version = _version(connection)
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise StageFailed(
            f"{path} was written by a newer harness (schema {version}, this one knows {SCHEMA_VERSION}); "
            "upgrade the harness or use --store with another path"
        )
    files = resources.files("harness.store")
    for number in range(version + 1, SCHEMA_VERSION + 1):
        source = files / ("schema.sql" if number == 1 else f"migrations/{number:04d}.sql")
        connection.begin()
        connection.execute(source.read_text(encoding="utf-8"))
        connection.execute("DELETE FROM schema_version")
        connection.execute("INSERT INTO schema_version VALUES (?)", [number])
        connection.commit()


def _version(connection: "DuckDBPyConnection") -> int:
    """Return the schema's number; 0 for an empty file."""
    from duckdb import CatalogException

    try:
        row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    except CatalogException:
        return 0
    return int(row[0]) if row and row[0] is not None else 0
