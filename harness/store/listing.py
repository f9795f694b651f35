"""Which stages a file of results holds, known without opening it for as long as nobody else has written to it.

Opening the file takes 20 to 30 ms, and a run asks of each of its stages whether it is there, several times.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store.rows import StageRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_KEYS = "SELECT key FROM stages"
_BEGUN = "SELECT stage_key FROM answers UNION SELECT stage_key FROM likelihoods UNION SELECT stage_key FROM measures"


@dataclass
class Listing:
    """What is known of the stages in the file without opening it.

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
