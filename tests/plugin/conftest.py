"""pytest inside pytest: a folder with one scripted experiment, run the way a user runs it."""

from collections.abc import Callable
from pathlib import Path

import hypothesis  # noqa: F401 - its pytest plugin would import it anew, rewritten, in each inner run: 2 seconds
import pytest

from harness.api import load_experiment, run_and_report


@pytest.fixture
def lamps(pytester: pytest.Pytester, write_experiment: Callable[..., Path]) -> Callable[..., Path]:
    """Write experiments/lamps.py into the inner folder; see `write_experiment` for what can be changed."""

    def write(name: str = "lamps", **changes: object) -> Path:
        return write_experiment(pytester.path / "experiments" / f"{name}.py", **changes)

    return write


@pytest.fixture(scope="session", autouse=True)
def _everything_is_imported(tmp_path_factory: pytest.TempPathFactory, write_experiment: Callable[..., Path]) -> None:
    """An inner run forgets what it imported, and numpy cannot be imported twice: one run out here comes first."""
    folder = tmp_path_factory.mktemp("imports")
    experiment = load_experiment(write_experiment(folder / "lamps.py"))
    run_and_report(experiment, name="lamps", store_path=folder / "results.duckdb")
