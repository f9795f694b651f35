"""The store that a command is about, and the experiments in it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.store.store import Store


def existing_store(path: Path) -> "Store":
    """Return the store at `path`.

    Raises HarnessError where there is none.
    """
    # Imported here: `harness --help` must not wait for duckdb.
    from harness.store.store import Store

    if not path.exists():
        raise HarnessError(f"{path} does not exist; run pytest experiments/ first, or name another with --store PATH")
    return Store(path)


def check_known(store: "Store", name: str | None) -> None:
    """Raise HarnessError where an experiment is named that the store lacks."""
    if name is not None and name not in store.experiments():
        raise HarnessError(f"no experiment {name!r} in {store.path}; it has {', '.join(store.experiments()) or 'none'}")


def say(line: str) -> None:
    """Write a line at once: minutes may pass until the next."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
