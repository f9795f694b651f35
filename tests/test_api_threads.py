"""The doors let threads spin only briefly while they wait, unless the user says otherwise."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import load_experiment, run_and_report
from harness.cli.__main__ import main


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Neither variable is set, and what a test's run sets is gone after it."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
    ],
    ids=["nothing set", "policy set", "count set"],
)
def test_the_command_waits_briefly_unless_told_otherwise(
    unset: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, str], then: dict[str, str]
) -> None:
    for name, value in given.items():
        unset.setenv(name, value)

    main(["verdict", "--store", str(tmp_path / "none.duckdb")])

    assert {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ} == then


def test_a_run_waits_briefly(unset: pytest.MonkeyPatch, tmp_path: Path, write_experiment: Callable[..., Path]) -> None:
    experiment = load_experiment(write_experiment(tmp_path / "lamps.py"))

    run_and_report(experiment, name="lamps", store_path=tmp_path / "results.duckdb")

    assert os.environ["GOMP_SPINCOUNT"] == "10000"
