"""What pytest collects, and what it says of files that cannot be collected."""

import json

import pytest

ITEM = "experiments/lamps.py::experiment"


def collected(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line and not line.startswith("ERROR")]


@pytest.mark.parametrize(
    "arguments", [["experiments"], ["experiments/lamps.py"], [ITEM], ["--import-mode=importlib", "experiments"]]
)
def test_folder_file_and_item_collect_the_same_single_item(pytester, lamps, arguments):
    lamps()
    result = pytester.runpytest("--collect-only", "-q", *arguments)

    assert result.ret == 0
    assert collected(result) == [ITEM]


def test_files_that_declare_no_experiment_are_left_alone(pytester, lamps):
    lamps()
    (pytester.path / "experiments" / "notes.py").write_text("from harness import Experiment\nraise SystemExit\n")
    (pytester.path / "experiments" / "other.py").write_text("experiment = 'of another tool'\nraise SystemExit\n")
    result = pytester.runpytest("--collect-only", "-q", "experiments")

    assert collected(result) == [ITEM]


def test_test_files_stay_pytests_own(pytester, lamps):
    lamps()
    pytester.makepyfile(test_own="experiment = 'harness'\ndef test_one(): pass\n")
    result = pytester.runpytest("--collect-only", "-q")

    assert sorted(collected(result)) == [ITEM, "test_own.py::test_one"]


def test_collect_only_shows_the_plan_and_leaves_no_file(pytester, lamps):
    lamps()
    result = pytester.runpytest("--collect-only", "experiments")

    result.stdout.fnmatch_lines(
        [
            "lamps: 0 stages stored, 4 to run, 4 that depend on what is found",
            "  to run    audit data",
            "  to run    answer zero-shot on dev",
            "  if time   noise zero-shot, in reversed order on dev",
            "  if time   noise zero-shot, one at a time on dev",
            "  to run    tune scripted-tuning",
            "  to run    answer scripted-tuning on dev",
            "  if chosen answer zero-shot on holdout",
            "  if chosen answer scripted-tuning on holdout",
        ]
    )
    assert not (pytester.path / "reports").exists()


def test_collect_only_knows_what_is_stored(pytester, lamps):
    lamps()
    pytester.runpytest("experiments", "--until=baseline")
    result = pytester.runpytest("--collect-only", "experiments")

    result.stdout.fnmatch_lines(["lamps: 4 stages stored, 2 to run, 2 that*", "  stored    answer zero-shot on dev"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": "[]"}, "metrics is empty; add ExactMatch() or another metric"),
        ({"baselines": "[]"}, "baselines is empty; add ZeroShot()"),
        ({"metrics": "[Perplexity()]"}, "go_if uses the metric 'exact_match', which is not in metrics (perplexity)"),
        ({"task": "Lamps"}, "task is the class Lamps; write Lamps() to make one"),
        ({"before": "SIZES[Split.HOLDOUT] = 0"}, "task 'lamps' has no holdout samples"),
    ],
    ids=["no metric", "no baseline", "unknown metric", "a class", "no holdout"],
)
def test_a_refused_experiment_names_file_field_and_remedy(pytester, lamps, changes, message):
    lamps(**changes)
    result = pytester.runpytest("experiments")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    (shown,) = [line for line in result.outlines if message in line and not line.startswith("ERROR")]
    assert shown.startswith("experiments/lamps.py: ")
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*.py:*: in *")


def test_a_syntax_error_is_told_in_pythons_words(pytester, lamps):
    path = lamps()
    path.write_text(path.read_text() + "\nexperiment = (\n")
    result = pytester.runpytest("experiments")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*SyntaxError: '(' was never closed"])


def test_a_malformed_row_is_named_with_file_row_and_field(pytester, lamps):
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(1, 60)]
    del rows[36]["completion"]
    (pytester.path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lamps(task="DatasetTask('rows', files='rows.jsonl')")
    result = pytester.runpytest("experiments")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["experiments/lamps.py: rows.jsonl, row 37*'completion'*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_broken_json_in_a_row_is_named_with_its_column(pytester, lamps):
    lines = [json.dumps({"prompt": f"question {n}", "completion": "b"}) for n in range(59)]
    lines[36] = '{"prompt": "a" "completion": "b"}'
    (pytester.path / "rows.jsonl").write_text("\n".join(lines))
    lamps(task="DatasetTask('rows', files='rows.jsonl')")
    result = pytester.runpytest("experiments")

    result.stdout.fnmatch_lines(["experiments/lamps.py: rows.jsonl, row 37, column 16: not JSON*"])


def test_ray_is_refused_as_not_available(pytester, lamps):
    lamps()
    result = pytester.runpytest("experiments", "--executor=ray")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --executor ray is not available yet; use --executor local"])


def test_a_holdout_too_small_is_said_before_anything_runs(pytester, lamps):
    lamps()
    result = pytester.runpytest("experiments", "--until=baseline")

    said = "lamps: 100 holdout samples show a true difference in exact_match of about 14.0 pts with 80 % power*"
    result.stdout.fnmatch_lines([said])


_LONG = "import pytest\npytestmark = pytest.mark.long"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["experiments"], [ITEM]),
        (["experiments", "-m", "long"], ["experiments/ladder.py::experiment"]),
        (["experiments", "-m", "long or not long"], ["experiments/ladder.py::experiment", ITEM]),
        (["experiments/ladder.py"], ["experiments/ladder.py::experiment"]),
        (["experiments/ladder.py::experiment"], ["experiments/ladder.py::experiment"]),
    ],
)
def test_a_long_experiment_runs_only_when_it_is_asked_for(pytester, lamps, arguments, expected):
    lamps()
    lamps("ladder", before=_LONG)
    result = pytester.runpytest("--collect-only", "-q", "--strict-markers", *arguments)

    assert result.ret == 0
    assert collected(result) == expected
    said = "long experiments are left out: experiments/ladder.py (name the file, or give -m long)"
    assert (said in result.outlines) == (expected == [ITEM])
