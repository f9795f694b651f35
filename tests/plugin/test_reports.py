"""What a run leaves in reports/."""

import json
from xml.etree import ElementTree

import pytest

KEYS = ["experiment", "question", "verdict", "reason", "findings", "primary", "report"]
KEYS += ["advice", "level", "look", "gain", "cost", "checks", "post_hoc", "insights"]
PRIMARY = ["metric", "baseline", "tuned", "difference", "low", "high", "samples", "seeds", "groups"]


def test_a_run_leaves_pages_verdicts_and_the_store(pytester, lamps):
    lamps()
    pytester.runpytest("experiments")

    reports = pytester.path / "reports"
    assert {"index.html", "lamps.html", "verdicts.json", "summary.md", "results.duckdb"} <= {
        path.name for path in reports.iterdir()
    }
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


def test_junit_is_told_the_verdict_and_its_numbers(pytester, lamps):
    lamps()
    pytester.runpytest("experiments", "--junitxml=junit.xml")

    root = ElementTree.parse(pytester.path / "junit.xml").getroot()
    found = {item.get("name"): item.get("value") for item in root.iter("property")}
    assert list(found) == [
        "experiment",
        "verdict",
        "reason",
        "primary_metric",
        "difference",
        "low",
        "high",
        "samples",
        "level",
        "holdout_look",
        "report",
    ]
    assert [found[name] for name in ("verdict", "primary_metric", "samples", "holdout_look", "report")] == [
        "GO",
        "exact_match",
        "100",
        "1",
        "reports/lamps.html",
    ]
    assert float(found["difference"]) == pytest.approx(0.7)


def test_the_closing_lines_of_one_experiment_are_at_most_ten(pytester, lamps):
    lamps()
    result = pytester.runpytest("experiments")

    lines = result.outlines
    start = next(place for place, line in enumerate(lines) if line.strip("= ") == "verdicts")
    end = lines.index("report: reports/index.html")
    assert [line.split()[0] for line in lines[start + 1 : end]] == [
        "GO",
        "do",
        "gain",
        "cost",
        "holdout",
        "checks",
        "page",
    ]


def test_of_many_experiments_the_closing_lines_say_the_verdicts_only(pytester, lamps):
    for name in ("one", "two", "three", "four"):
        lamps(name)
    result = pytester.runpytest("experiments")

    lines = result.outlines
    start = next(place for place, line in enumerate(lines) if line.strip("= ") == "verdicts")
    end = lines.index("report: reports/index.html")
    assert [line.split(":")[0] for line in lines[start + 1 : end]] == [
        f"GO            {name}" for name in ("four", "one", "three", "two")
    ]
