"""Every planted situation ends as it must; docs/measurements/verdicts.md shows them all."""

from pathlib import Path

import pytest

from benchmarks.situations import REAL, SCRIPTED
from benchmarks.situations.situation import Situation
from harness.report.write import write_reports
from harness.store.store import Store
from harness.verification.page import verify_page

_NO_PROOF = ("index.html", "verdicts.json", "summary.md")


_SLOW = {"twenty null candidates"}  # as many runs as it says


@pytest.mark.parametrize(
    "situation",
    [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.name in _SLOW else []) for one in SCRIPTED],
)
def test_a_planted_situation_ends_as_it_must(situation: Situation, tmp_path: Path) -> None:
    got = situation.play(tmp_path)

    assert situation.holds(got), f"expected {situation.expected} that says {situation.says!r}, got {got}"
    assert [line for page in _pages(tmp_path) for line in verify_page(page).differences] == []


def _pages(folder: Path) -> list[Path]:
    """Draw the page of every experiment that a situation decided."""
    path = folder / "results.duckdb"
    store = Store(path) if path.exists() else None
    found = [store.evidence(name) for name in store.experiments()] if store else []
    return [page for page in write_reports(folder, filter(None, found)) if page.name not in _NO_PROOF]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the real model: several situations ask it the same."""
    return tmp_path_factory.mktemp("real")


@pytest.mark.slow
@pytest.mark.parametrize("situation", REAL, ids=lambda situation: situation.name)
def test_a_situation_on_the_real_model_ends_as_it_must(situation: Situation, shared: Path) -> None:
    got = situation.play(shared)

    assert situation.holds(got), f"expected {situation.expected} that says {situation.says!r}, got {got}"


def test_no_two_situations_are_called_the_same() -> None:
    names = [situation.name for situation in (*SCRIPTED, *REAL)]

    assert len(set(names)) == len(names) >= 40
    assert len(REAL) >= 10
