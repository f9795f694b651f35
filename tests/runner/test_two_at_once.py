"""Two processes on one store leave the tables that one process leaves."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.store import Store

# Long enough for the two to meet: every stage takes from 0.2 to 2 seconds.
_SECONDS_PER_ANSWER = 0.02


@pytest.fixture
def start(write_experiment: Callable[..., Path]) -> Callable[..., "subprocess.Popen[str]"]:
    """Start pytest on a folder of two experiments that differ in their recipe, and so share their baseline."""

    def begin(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
        for name, learn in (("all", 1.0), ("half", 0.5)):
            write_experiment(folder / "experiments" / f"{name}.py", learn=learn, seconds=_SECONDS_PER_ANSWER)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--verdict=report", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env={**os.environ},
        )  # fmt: skip

    return begin


def ended(process: "subprocess.Popen[str]") -> str:
    """Wait for a process that must succeed, and return what it said."""
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    return said


def store_of(folder: Path) -> Store:
    return Store(folder / "reports" / "results.duckdb")


def test_two_processes_at_once_measure_each_stage_once(start: Callable, tmp_path: Path, tables: Callable) -> None:
    together = [start(tmp_path / "together", "experiments/all.py") for _ in range(2)]
    alone = start(tmp_path / "alone", "experiments/all.py")
    for process in (*together, alone):
        assert "GO" in ended(process)

    found = tables(store_of(tmp_path / "together"))
    assert found == tables(store_of(tmp_path / "alone"))
    assert len(found["decisions"]) == 1
    assert (tmp_path / "together" / "reports" / "verdicts.json").is_file()


# What depends on who opened the holdout first.
_JUDGED = ("comparisons", "decisions", "insights", "looks", "slices", "system_means")


@pytest.mark.slow  # three processes; tests/plugin/test_names.py has two workers on one store
def test_workers_share_the_stages_of_two_experiments(start: Callable, tmp_path: Path, tables: Callable) -> None:
    workers = start(tmp_path / "workers", "-n", "2", "experiments")
    alone = start(tmp_path / "alone", "experiments")
    assert "2 passed" in ended(workers)
    ended(alone)

    found, expected = tables(store_of(tmp_path / "workers")), tables(store_of(tmp_path / "alone"))
    # Which of the two experiments came first to a shared stage is chance; that there is one of each is not.
    for side in (found, expected):
        side["stages"] = sorted((row[0], *row[2:]) for row in side["stages"])
        # The second to open a holdout that both use spends less alpha, so its intervals are wider.
        for name in _JUDGED:
            del side[name]
    assert [name for name in found if found[name] != expected[name]] == []
    shared = "SELECT stage_key FROM experiment_stages GROUP BY stage_key HAVING count(DISTINCT experiment) = 2"
    kinds = f"SELECT kind, split FROM stages WHERE key IN ({shared}) ORDER BY ALL"
    assert store_of(tmp_path / "workers").query(kinds)[1] == [
        ("answer", "dev"),
        ("answer", "holdout"),
        ("audit", None),
        ("noise", "dev"),
        ("noise", "dev"),
    ]
