"""The doors let threads wait without spinning, unless the user says otherwise."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.front import run_and_report
from harness.outlook import load_experiment


@pytest.mark.parametrize(("set_before", "then"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_the_command_waits_passively_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, set_before: str | None, then: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", set_before or "")
    if set_before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")

    main(["verdict", "--store", str(tmp_path / "none.duckdb")])

    assert os.environ["OMP_WAIT_POLICY"] == then


def test_a_run_waits_passively(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_experiment: Callable[..., Path]
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    experiment = load_experiment(write_experiment(tmp_path / "lamps.py"))

    run_and_report(experiment, name="lamps", file=None, store_path=tmp_path / "results.duckdb")

    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
