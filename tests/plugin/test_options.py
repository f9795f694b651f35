"""The harness's own options, and pytest's: each means what it says."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.store.store import Store

NO_GAIN = {"base": 0.6, "tuned": 0.5}


def kinds(pytester: pytest.Pytester, path: str = "reports/results.duckdb") -> list[tuple[str, str | None]]:
    return Store(pytester.path / path).query("SELECT kind, split FROM stages ORDER BY started_at")[1]


def test_until_baseline_skips_and_measures_only_the_baselines(pytester, lamps):
    lamps()
    result = pytester.runpytest("experiments", "--until=baseline", "-rs")

    assert result.ret == 0
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*stopped after baseline, as asked: no verdict"])
    assert kinds(pytester) == [("audit", None), ("answer", "dev"), ("noise", "dev"), ("noise", "dev")]


def test_until_tuning_leaves_the_holdout_closed(pytester, lamps):
    lamps()
    result = pytester.runpytest("experiments", "--until=tuning")

    result.assert_outcomes(skipped=1)
    before = [("audit", None), ("answer", "dev"), ("noise", "dev"), ("noise", "dev")]
    assert kinds(pytester) == [*before, ("tune", None), ("answer", "dev")]


def test_a_second_run_computes_nothing_and_fresh_computes_all(pytester, lamps):
    lamps()
    pytester.runpytest("experiments")
    store = Store(pytester.path / "reports" / "results.duckdb")
    first = store.evidence("lamps").stages

    again = pytester.runpytest("experiments")
    again.assert_outcomes(passed=1)
    again.stdout.no_fnmatch_line("*answers, *done*")
    assert store.evidence("lamps").stages == first

    pytester.runpytest("experiments", "--fresh").assert_outcomes(passed=1)
    fresh = store.evidence("lamps").stages
    assert [stage.key for stage in fresh] == [stage.key for stage in first]
    assert min(stage.started_at for stage in fresh) > max(stage.started_at for stage in first)


def test_store_says_where_everything_goes(pytester, lamps):
    lamps()
    result = pytester.runpytest("experiments", "--store", "elsewhere/mine.duckdb")

    result.stdout.fnmatch_lines(["report: elsewhere/index.html"])
    assert not (pytester.path / "reports").exists()
    written = {path.name for path in (pytester.path / "elsewhere").iterdir() if path.is_file()}
    assert {"mine.duckdb", "index.html", "lamps.html", "verdicts.json"} <= written


def test_k_and_m_choose_experiments(pytester, lamps):
    pytester.makeini("[pytest]\nmarkers = slow: takes long\n")
    lamps(before="pytestmark = pytest.mark.slow")
    lamps("torches")

    by_word = pytester.runpytest("experiments", "--collect-only", "-q", "-k", "torches")
    by_mark = pytester.runpytest("experiments", "--collect-only", "-q", "-m", "slow")

    assert "experiments/torches.py::experiment" in by_word.outlines
    assert "experiments/lamps.py::experiment" not in by_word.outlines
    assert "experiments/lamps.py::experiment" in by_mark.outlines
    assert "experiments/torches.py::experiment" not in by_mark.outlines


def test_x_stops_at_the_first_negative_and_lf_takes_up_there(pytester, lamps):
    lamps("a_negative", **NO_GAIN)
    lamps("b_positive")

    stopped = pytester.runpytest("experiments", "-x")
    stopped.assert_outcomes(failed=1)
    assert Store(pytester.path / "reports" / "results.duckdb").experiments() == ("a_negative",)

    last_failed = pytester.runpytest("experiments", "--lf", "--collect-only", "-q")
    assert [line for line in last_failed.outlines if "::" in line] == ["experiments/a_negative.py::experiment"]


def test_junit_carries_the_verdict_and_the_reason(pytester, lamps):
    lamps(**NO_GAIN)
    pytester.runpytest("experiments", "--junitxml=junit.xml")

    suite = ElementTree.parse(Path(pytester.path, "junit.xml")).getroot().find("testsuite")
    case = suite.find("testcase")
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    assert (case.get("classname"), case.get("name")) == ("experiments.lamps", "experiment")
    assert properties["verdict"] == "NO_GO"
    assert "exact_match" in properties["reason"]
    assert case.find("failure").text.startswith("NO_GO  Should the lamps be tuned?")
