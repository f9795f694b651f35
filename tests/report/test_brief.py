"""One experiment in a few lines."""

from dataclasses import replace
from types import ModuleType

import pytest

from harness.report.brief import properties, terminal_lines, verdict_entry
from harness.store.rows import Evidence


def test_the_terminal_says_verdict_advice_gain_cost_holdout_checks_and_page(rich: Evidence) -> None:
    assert terminal_lines(verdict_entry(rich), page="reports/home_commands.html") == [
        "GO            home_commands: Every criterion is met on the holdout.",
        "  do       Tune: sft-lora-r16 in place of few-shot-8 takes ExactMatch from 50.0 % to 90.0 %, "
        "+40.0 pts [+33.0, +47.0], n = 24.",
        "  gain     ExactMatch from 50.0 % to 90.0 %: +40.0 pts [+33.0, +47.0], n = 24, 3 seeds, 95 % interval",
        "  cost     trained in 2 min 23 s, mean of 3 seeds; a request takes 256 tokens, as before",
        "  holdout  look 3, so the interval is at 95 %",
        "  checks   4 checks, 1 warning",
        "  page     reports/home_commands.html",
    ]


@pytest.mark.parametrize("kind", ["no_go", "inconclusive", "stopped", "invalid"])
def test_no_verdict_takes_more_than_ten_lines(made: ModuleType, kind: str) -> None:
    lines = terminal_lines(verdict_entry(getattr(made, kind)()), page="x.html")
    assert 4 <= len(lines) <= 10
    assert lines[-1] == "  page     x.html"


def test_nothing_that_moves_the_cursor_reaches_the_terminal(made: ModuleType) -> None:
    evidence = made.go()
    nasty = replace(evidence, decision=replace(evidence.decision, reason="all \x1b[2J gone\nhere"))
    assert terminal_lines(verdict_entry(nasty), page="x")[0] == "GO            home_commands: all  [2J gone here"


def test_junit_is_told_the_numbers_of_the_verdict(rich: Evidence) -> None:
    found = properties(verdict_entry(rich), page="reports/home_commands.html")
    assert found == [
        ("experiment", "home_commands"),
        ("verdict", "GO"),
        ("reason", "Every criterion is met on the holdout."),
        ("primary_metric", "ExactMatch"),
        ("difference", "0.4"),
        ("low", "0.33"),
        ("high", "0.47000000000000003"),
        ("samples", "24"),
        ("level", "0.95"),
        ("holdout_look", "3"),
        ("report", "reports/home_commands.html"),
    ]


def test_junit_is_not_told_what_was_not_measured(made: ModuleType) -> None:
    names = [name for name, _ in properties(verdict_entry(made.invalid()), page="x")]
    assert names == ["experiment", "verdict", "reason", "report"]


def test_verdicts_json_says_what_every_insight_says(rich: Evidence) -> None:
    entry = verdict_entry(rich)
    kinds = ["curve", "break_even", "four_way", "retention", "safety", "ladder"]
    trusted = ["evidence", "ledger", "sequential"]
    assert sorted(entry["insights"]) == sorted([*kinds, *trusted, "continual", "noise"])
    assert (
        entry["insights"]["break_even"]
        == "Training cost 0.24 and is paid back after about 5,900 requests [5,600, 6,200]."
    )
    assert [len(entry["insights"]["noise"]), len(entry["advice"])] == [2, 3]
