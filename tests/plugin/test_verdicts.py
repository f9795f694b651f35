"""What pytest shows of each verdict."""

from pathlib import Path

import pytest

KNOWN_NEGATIVE = "pytestmark = pytest.mark.xfail(raises=NoGo, strict=True)"
NO_GAIN = {"base": 0.6, "tuned": 0.5}
UNCLEAR = {"base": 0.5, "tuned": 0.54}
UNCHANGED = {"learn": 0.0}


def failure_lines(result: pytest.RunResult) -> list[str]:
    """Return the lines between the title of the failure and the next section."""
    lines = result.outlines
    title = next(place for place, line in enumerate(lines) if line.strip("_ ") == "experiment lamps")
    end = next(place for place in range(title + 1, len(lines)) if lines[place].startswith("==="))
    return lines[title + 1 : end]


def test_go_passes(pytester, lamps):
    lamps()
    result = pytester.runpytest("experiments")

    assert result.ret == 0
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*= verdicts =*", "GO * lamps: *", "report: reports/index.html"])


def test_no_go_fails_in_three_lines(pytester, lamps):
    lamps(**NO_GAIN)
    result = pytester.runpytest("experiments")

    assert result.ret == 1
    result.assert_outcomes(failed=1)
    first, second, third = failure_lines(result)
    assert first == "NO_GO  Should the lamps be tuned?"
    assert "exact_match" in second
    assert third == f"report: {pytester.path / 'reports' / 'lamps.html'}"
    result.stdout.no_fnmatch_line("*Traceback*")


def test_inconclusive_fails_in_three_lines_and_says_how_many_samples_would_do(pytester, lamps):
    lamps(**UNCLEAR)
    result = pytester.runpytest("experiments")

    assert result.ret == 1
    result.assert_outcomes(failed=1)
    first, second, third = failure_lines(result)
    assert first == "INCONCLUSIVE  Should the lamps be tuned?"
    assert "holdout samples" in second
    assert third.startswith("report: ")


def test_invalid_evidence_is_an_error_of_the_setup_with_its_reason(pytester, lamps):
    lamps(**UNCHANGED)
    result = pytester.runpytest("experiments")

    assert result.ret == 1
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of experiment lamps*", "INVALID: *added no row*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_known_negative_is_an_expected_failure(pytester, lamps):
    lamps(**NO_GAIN, before=KNOWN_NEGATIVE)
    result = pytester.runpytest("experiments")

    assert result.ret == 0
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["NO_GO * lamps: *"])


def test_a_known_negative_that_wins_fails(pytester, lamps):
    lamps(before=KNOWN_NEGATIVE)
    result = pytester.runpytest("experiments")

    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*XPASS(strict)*"])


def test_a_known_negative_that_does_not_decide_fails(pytester, lamps):
    lamps(**UNCLEAR, before=KNOWN_NEGATIVE)
    result = pytester.runpytest("experiments")

    assert result.ret == 1
    result.assert_outcomes(failed=1)


def test_a_known_negative_with_invalid_evidence_is_an_error(pytester, lamps):
    lamps(**UNCHANGED, before=KNOWN_NEGATIVE)
    result = pytester.runpytest("experiments")

    assert result.ret == 1
    result.assert_outcomes(errors=1)


@pytest.mark.parametrize("changes", [NO_GAIN, UNCLEAR], ids=["no go", "inconclusive"])
def test_verdict_report_shows_a_negative_as_expected(pytester, lamps, changes):
    lamps(**changes)
    result = pytester.runpytest("experiments", "--verdict=report")

    assert result.ret == 0
    result.assert_outcomes(xfailed=1)


def test_verdict_report_still_fails_on_invalid_evidence(pytester, lamps):
    lamps(**UNCHANGED)
    result = pytester.runpytest("experiments", "--verdict=report")

    assert result.ret == 1
    result.assert_outcomes(errors=1)


def test_verdict_report_leaves_go_a_pass(pytester, lamps):
    lamps()
    result = pytester.runpytest("experiments", "--verdict=report")

    assert result.ret == 0
    result.assert_outcomes(passed=1)


def test_a_known_negative_is_kept_as_such_in_the_store(pytester, lamps):
    from harness.store.store import Store

    lamps(**NO_GAIN, before=KNOWN_NEGATIVE)
    pytester.runpytest("experiments")

    evidence = Store(Path(pytester.path, "reports", "results.duckdb")).evidence("lamps")
    assert (evidence.decision.verdict, evidence.decision.known_negative) == ("NO_GO", True)
