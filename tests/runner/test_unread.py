"""A judge that cannot always be read: what is left out, what the page and `harness verify` make of it."""

from pathlib import Path

import pytest

from benchmarks.situations.engines import Partial
from benchmarks.situations.world import world
from harness import ExactMatch, Experiment, Gain, Preference
from harness.api import run_and_report
from harness.store.store import Store
from harness.verification.page import verify_page

COLOURS = ("amber", "blue", "green", "red", "white")


def judged(mumbles: int) -> Experiment:
    preference = Preference(judge=Partial("right", right=COLOURS, mumbles=mumbles))
    return world(0.3, 0.8).experiment(metrics=[ExactMatch(), preference], go_if=[Gain(preference, at_least=0.05)])


@pytest.mark.parametrize(("mumbles", "verdict", "pairs"), [(40, "GO", 195), (8, "INVALID", None), (1, "INVALID", None)])
def test_a_page_with_unread_pairs_says_so_and_its_verdict_can_be_recomputed(
    tmp_path: Path, mumbles: int, verdict: str, pairs: int | None
) -> None:
    outcome = run_and_report(judged(mumbles), name="colours", store_path=tmp_path / "results.duckdb")

    page = tmp_path / "colours.html"
    found = verify_page(page)
    assert outcome.decision.verdict.value == verdict
    assert (found.verdict, found.differences, found.decided) == (verdict, [], True)
    assert "not understood" in page.read_text(encoding="utf-8")
    if pairs is not None:
        assert f"n = {pairs}" in outcome.decision.reason


def test_a_judge_that_is_not_understood_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    run_and_report(judged(1), name="colours", store_path=tmp_path / "results.duckdb")

    kinds = Store(tmp_path / "results.duckdb").query("SELECT DISTINCT kind FROM stages ORDER BY kind")[1]
    assert kinds == [("answer",), ("audit",), ("judge",)]


def test_a_judge_that_fails_later_makes_the_verdict_invalid(tmp_path: Path) -> None:
    """Every twentieth question: two of the first ten pairs, and one in ten of the holdout's."""
    outcome = run_and_report(judged(19), name="colours", store_path=tmp_path / "results.duckdb")

    assert outcome.decision.verdict.value == "INVALID"
    assert "judge: 22 of 200 pairs had a reply that was not understood, and are left out" in outcome.decision.reason
