"""Opening reports/results.duckdb: one lock, one transaction, closed again.

DuckDB lets one process hold the file and refuses every other meanwhile, readers included. So a connection
lives for one transaction under a file lock, and never while a model runs.

Rows in and out of one table: dataclass fields are columns, fields typed `object` are JSON.

Both ways go a column at a time. A row at a time, 300,000 rows took 8 s to read: making a frozen row costs 8
microseconds through its __init__ and 2 through its slots, and each small JSON text another 4.
"""

import atexit
import json
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import Field, dataclass, field, fields
from importlib import resources
from itertools import count, repeat
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from filelock import FileLock, Timeout

from harness.errors import StageFailed
from harness.store.rows import StageRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_Opened = TypeVar("_Opened")

SCHEMA_VERSION = 8
_LOCK_SECONDS = 120.0
# Others that open the file without our lock (a notebook, the duckdb shell) are waited for this long.
_FOREIGN_LOCK_TRIES = 40
# How DuckDB says that another process has the file, on Unix and on Windows.
_HELD = ("set lock", "Conflicting lock", "used by another process")
# Where a DuckDB file says that it is one.
_HEAD_BYTES, _MAGIC = 16, slice(8, 12)


_KEYS = "SELECT key FROM stages"
_BEGUN = "SELECT stage_key FROM answers UNION SELECT stage_key FROM likelihoods UNION SELECT stage_key FROM measures"


@dataclass
class Listing:
    """Which stages a file holds, known without opening it for as long as nobody else has written to it.

    Opening the file takes 20 to 30 ms, and a run asks of each of its stages whether it is there, several times.

    Attributes:
        path: The file.
        finished: Keys of all stages.
        begun: Keys of stages that hold rows, finished or not.
        rows: Of the finished stages that were looked at.
        last: By kind of content, the key of the stage that was finished last and all that it holds, which is asked for
            next.
    """

    path: Path
    finished: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    rows: dict[str, StageRow] = field(default_factory=dict)
    last: dict[type, tuple[str, tuple[Any, ...]]] = field(default_factory=dict)
    _as_of: tuple[int, int, int] | None = None

    @property
    def is_current(self) -> bool:
        """Whether the file is as it was when this listing was brought up to date."""
        return self._as_of is not None and self._as_of == self._file_now()

    @property
    def is_known(self) -> bool:
        """Whether this listing is up to date while the file is open."""
        return self._as_of is not None

    def opening(self) -> None:
        """The file is about to be opened, its lock held: what another has written since makes the listing void."""
        if not self.is_current:
            self.void()

    def closed(self) -> None:
        """The file was opened and closed, its lock still held: what this process did with it is in the listing."""
        if self._as_of is not None:
            self._as_of = self._file_now()

    def void(self) -> None:
        """Nothing is known any more."""
        self._as_of = None
        self.rows.clear()
        self.last.clear()

    def read(self, connection: "DuckDBPyConnection") -> None:
        """Bring the listing up to date, the file being open."""
        self.finished, self.begun = (
            {str(record[0]) for record in connection.execute(query).fetchall()} for query in (_KEYS, _BEGUN)
        )
        self._as_of = (0, 0, 0)  # until it is closed

    def add(self, *, finished: Iterable[str] = (), begun: Iterable[str] = ()) -> None:
        self.finished.update(finished)
        self.begun.update(begun)

    def drop(self, keys: Collection[str]) -> None:
        self.finished.difference_update(keys)
        self.begun.difference_update(keys)
        for key in keys:
            self.rows.pop(key, None)
        self.last.clear()

    def _file_now(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def transaction(path: Path, *, listing: Listing | None = None) -> Iterator["DuckDBPyConnection"]:
    """Yield a connection inside one transaction: committed at the end, rolled back if the block raises.

    Creates the file and brings an older schema up to date.

    Args:
        path: The file.
        listing: What is known of the file, told when it is opened and closed.

    Raises:
        StageFailed: If another process keeps the file, it is no store of the harness, or it cannot be written.
    """
    with _locked(path), _told(path), _watched(listing), _attached(path) as connection:
        _migrate(connection, path)
        connection.begin()
        try:
            yield connection
        except BaseException:
            _roll_back(connection)
            raise
        connection.commit()


@contextmanager
def _watched(listing: Listing | None) -> Iterator[None]:
    if listing is None:
        yield
        return
    listing.opening()
    try:
        yield
    except BaseException:
        listing.void()
        raise
    listing.closed()


@contextmanager
def reading(path: Path) -> Iterator["DuckDBPyConnection"]:
    """Yield a connection that cannot change the file, for SQL that others write.

    A transaction to roll back would not do: the SQL itself may hold a COMMIT. Raises as `transaction` does.
    """
    with _locked(path):
        with _told(path), _attached(path) as connection:
            _migrate(connection, path)
        # A database of its own: the SQL sees nothing else, and leaves nothing behind.
        with closing(_patiently(path, lambda: _read_only(path))) as connection:
            yield connection


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_name(path.name + ".lock"), timeout=_LOCK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise StageFailed(f"{path} stayed locked for {_LOCK_SECONDS:.0f} s; end the process that holds it") from error
    except OSError as error:
        why = "it is a file" if path.parent.is_file() else error.strerror or str(error)
        raise StageFailed(
            f"{path.parent} cannot be written ({why}); results are kept there: make it writable, "
            "or use --store with a path elsewhere"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in one line what the file system refuses, such as room on the disk; what was stored before stays."""
    import duckdb

    try:
        yield
    except (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException, OSError) as error:
        raise StageFailed(
            f"{path} cannot be written ({_first_line(error)}); what it held is as it was: make room or make it "
            "writable, and run again, the run resumes where it stopped"
        ) from error


def _roll_back(connection: "DuckDBPyConnection") -> None:
    """Undo; a database that failed as a whole has undone it already, and must not hide what it failed of."""
    import duckdb

    with suppress(duckdb.Error):
        connection.rollback()


def _read_only(path: Path) -> "DuckDBPyConnection":
    import duckdb

    return duckdb.connect(str(path), read_only=True)


@contextmanager
def _attached(path: Path) -> Iterator["DuckDBPyConnection"]:
    """Yield a connection with the file as its database; afterwards no one holds the file.

    A database in memory lives as long as the process, and the file is attached to it: that takes 1 ms, and making a
    database for each opening 15 to 20.
    """
    # Imported where it is used, in all of the store: a module that still holds duckdb's classes when the interpreter
    # ends makes nanobind print a page about leaks.
    import duckdb

    connection, name = _memory().cursor(), f"store_{next(_NUMBERS)}"
    try:
        _patiently(path, lambda: _attach(connection, path, name))
        yield connection
    finally:
        try:
            connection.execute("USE memory")
            connection.execute(f"DETACH DATABASE IF EXISTS {name}")
        except duckdb.Error:  # the file is let go of with all that is in memory
            _forget_memory()
        connection.close()


def _attach(connection: "DuckDBPyConnection", path: Path, name: str) -> None:
    quoted = str(path).replace("'", "''")
    connection.execute(f"ATTACH '{quoted}' AS {name} (TYPE duckdb)")
    connection.execute(f"USE {name}")


_NUMBERS = count()
# The process that made it, and it: a forked process makes its own.
_MEMORY: dict[int, "DuckDBPyConnection"] = {}


def _memory() -> "DuckDBPyConnection":
    import duckdb

    if os.getpid() not in _MEMORY:
        _MEMORY[os.getpid()] = duckdb.connect(":memory:")
    return _MEMORY[os.getpid()]


@atexit.register
def _forget_memory() -> None:
    if made := _MEMORY.pop(os.getpid(), None):
        made.close()


def _patiently(path: Path, open_it: Callable[[], _Opened]) -> _Opened:
    """Return what `open_it` does, which is tried again while a program without our lock holds the file.

    Raises:
        StageFailed: If the file cannot be opened; the message says why.
    """
    import duckdb

    _check_kind(path)
    for attempt in range(_FOREIGN_LOCK_TRIES):
        try:
            return open_it()
        except duckdb.Error as error:
            said = _first_line(error)
            if "newer version" in str(error) or "version number" in str(error):
                raise StageFailed(
                    f"{path} was written by a newer DuckDB than {duckdb.__version__} ({said}); upgrade the package "
                    "duckdb, or use --store with another path"
                ) from error
            if not any(words in str(error) for words in _HELD):
                raise StageFailed(
                    f"{path} cannot be opened ({said}); "
                    "if it is damaged, move it away and run again: what it held is then measured anew"
                ) from error
            if attempt == _FOREIGN_LOCK_TRIES - 1:
                raise StageFailed(
                    f"{path} is open in another program ({said}); close it and run again, "
                    "the run resumes where it stopped"
                ) from error
            time.sleep(0.25)
    raise AssertionError("unreachable")


def _check_kind(path: Path) -> None:
    """Raise StageFailed for what is no DuckDB file: for SQLite, DuckDB would ask the network for an extension."""
    if path.is_dir():
        raise StageFailed(f"{path} is a folder; give --store the path of a file, such as {path / 'results.duckdb'}")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StageFailed(f"{path} cannot be read ({error.strerror}); use --store with another path") from error
    if head[_MAGIC] == b"DUCK":
        return
    kind = "an SQLite file" if head.startswith(b"SQLite format 3") else "empty" if not head else "no DuckDB file"
    raise StageFailed(
        f"{path} cannot be opened (it is {kind}); use --store with another path, or if it is damaged, move it away "
        "and run again: what it held is then measured anew"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _migrate(connection: "DuckDBPyConnection", path: Path) -> None:
    """Bring the schema to SCHEMA_VERSION, one numbered file after another, each in a transaction."""
    version = _version(connection, path)
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


def _version(connection: "DuckDBPyConnection", path: Path) -> int:
    """Return the schema's number; 0 for a file that is new.

    Raises:
        StageFailed: If it is a database of something else: nothing is written into it.
    """
    import duckdb

    # Asked before what else is there: listing the catalogue takes forty times as long, at each opening.
    with suppress(duckdb.Error):
        row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
        if row and isinstance(row[0], int) and row[0] > 0:
            return row[0]
    here = "database_name = current_database()"
    tables = (
        f"SELECT (SELECT count(*) FROM duckdb_tables() WHERE {here}) + "  # noqa: S608 - nothing of a user's
        f"(SELECT count(*) FROM duckdb_views() WHERE NOT internal AND {here})"
    )
    if connection.execute(tables).fetchone() == (0,):
        return 0
    raise StageFailed(
        f"{path} is a DuckDB file of something else (it holds tables, none of them the harness's); use --store with "
        "another path"
    )


class Stored(Protocol):
    """A row dataclass, and the table that holds its rows."""

    TABLE: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


Row = TypeVar("Row", bound=Stored)

_json_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def insert(connection: "DuckDBPyConnection", rows: Sequence[Stored]) -> None:
    """Append `rows`, all of one row dataclass, to its table in one Arrow batch."""
    # Here: what lists the stages of a plan imports the store, and opens none.
    import pyarrow as pa

    if not rows:
        return
    columns = fields(rows[0])
    batch = pa.table({column.name: _out(column, rows) for column in columns})
    names = ", ".join(f'"{column.name}"' for column in columns)
    connection.register("incoming", batch)
    connection.execute(f'INSERT INTO "{rows[0].TABLE}" ({names}) SELECT {names} FROM incoming')  # noqa: S608 - names are ours
    connection.unregister("incoming")


def select(
    connection: "DuckDBPyConnection",
    kind: type[Row],
    *,
    where: str = "TRUE",
    parameters: Sequence[object] = (),
    order: str = "ALL",
) -> tuple[Row, ...]:
    """Return the rows of one kind that satisfy `where`.

    Args:
        connection: Of an open store.
        kind: A dataclass with slots and without __post_init__, which is not called.
        where: SQL with ? parameters.
        parameters: What stands for them.
        order: The columns to order by.
    """
    columns = fields(kind)
    names = ", ".join(f'"{column.name}"' for column in columns)
    query = f'SELECT {names} FROM "{kind.TABLE}" WHERE {where} ORDER BY {order}'  # noqa: S608 - names are ours
    found = connection.sql(query, params=list(parameters)).to_arrow_table()
    rows: list[Row] = list(map(object.__new__, repeat(kind, found.num_rows)))
    for column, values in zip(columns, found.columns, strict=True):
        # The slot itself: the class is frozen for everyone else.
        deque(map(getattr(kind, column.name).__set__, rows, _in(column, values.to_pylist())), maxlen=0)
    return tuple(rows)


def stored_stages(connection: "DuckDBPyConnection", keys: Collection[str]) -> tuple[StageRow, ...]:
    return select(
        connection,
        StageRow,
        where="key IN (SELECT unnest(?))",
        parameters=[list(keys)],
        order="started_at, key",
    )


def _out(column: "Field[Any]", rows: Sequence[object]) -> list[object]:
    values = map(attrgetter(column.name), rows)
    if column.type is object:
        return [None if value is None else _json_text(value) for value in values]
    return list(values)


def _in(column: "Field[Any]", values: list[Any]) -> Iterable[Any]:
    """Return the column as the rows hold it; all its JSON texts are read as one list."""
    if column.type is object:
        found: list[Any] = json.loads(f"[{','.join('null' if value is None else value for value in values)}]")
        return found
    return values
