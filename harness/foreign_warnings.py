"""Warnings of other packages about each other, which the user of an experiment can do nothing about."""

import re
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What a package says to those who call it: here the harness does, so it is for its authors to act on.
_TO_AUTHORS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning)
# Compiled modules are made by the import system, and warn in its name.
_IMPORT_SYSTEM = r"(importlib\._bootstrap|importlib\._bootstrap_external|sys)$"


@contextmanager
def without_foreign_warnings() -> Iterator[None]:
    """Ignore the warnings of installed packages for a while; those of the harness and of the user's code are shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=rf"({'|'.join(map(re.escape, _installed()))})(\.|$)")
        for kind in _TO_AUTHORS:
            warnings.filterwarnings("ignore", category=kind, module=r"harness(\.|$)")
            warnings.filterwarnings("ignore", category=kind, module=_IMPORT_SYSTEM)
        yield


def _installed() -> list[str]:
    """Return the names of the modules and packages that are installed beside this one."""
    found = {"torch"}
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        with suppress(OSError):
            found |= {path.name.partition(".")[0] for path in Path(folder).iterdir() if _importable(path)}
    return sorted(found - {"harness", "tasks", ""})


def _importable(path: Path) -> bool:
    return path.suffix in (".py", ".so", ".pyd") or (path.is_dir() and path.name.isidentifier())
