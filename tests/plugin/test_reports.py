"""What a run leaves in reports/."""

import json

KEYS = ["experiment", "question", "verdict", "reason", "findings", "primary", "report"]
PRIMARY = ["metric", "baseline", "tuned", "difference", "low", "high", "samples"]


def test_a_run_leaves_pages_verdicts_and_the_store(pytester, lamps):
    lamps()
    pytester.runpytest("experiments")

    reports = pytester.path / "reports"
    assert {"index.html", "lamps.html", "verdicts.json", "results.duckdb"} <= {path.name for path in reports.iterdir()}
    assert "Should the lamps be tuned?" in (reports / "lamps.html").read_text()
    assert "lamps.html" in (reports / "index.html").read_text()

    (entry,) = json.loads((reports / "verdicts.json").read_text())
    assert list(entry) == KEYS
    assert list(entry["primary"]) == PRIMARY
    assert [entry[key] for key in ("experiment", "question", "verdict", "report")] == [
        "lamps",
        "Should the lamps be tuned?",
        "GO",
        "lamps.html",
    ]
    assert [finding["status"] for finding in entry["findings"]] == ["met"]
    primary = entry["primary"]
    assert [primary[key] for key in ("metric", "baseline", "tuned", "samples")] == [
        "exact_match",
        "zero-shot",
        "scripted-tuning",
        100,
    ]
    assert primary["low"] < primary["difference"] < primary["high"]


def test_a_verdict_without_a_comparison_has_no_primary(pytester, lamps):
    lamps(learn=0.0)
    pytester.runpytest("experiments")

    (entry,) = json.loads((pytester.path / "reports" / "verdicts.json").read_text())
    assert (entry["verdict"], entry["primary"]) == ("INVALID", None)


def test_the_store_and_reports_stand_in_the_root_folder_wherever_pytest_is_called(pytester, lamps, monkeypatch):
    pytester.makeini("[pytest]\n")
    lamps()
    monkeypatch.chdir(pytester.path / "experiments")
    result = pytester.runpytest("lamps.py")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"report: {pytester.path / 'reports' / 'index.html'}"])
    assert (pytester.path / "reports" / "lamps.html").exists()
    assert not (pytester.path / "experiments" / "reports").exists()
