"""Two files of one name are two experiments, in one session and in several; some names are taken by the report."""

import json
import unicodedata
from pathlib import Path

import pytest

from harness.errors import InvalidExperiment
from harness.store.names import check_name, claim_name, claim_name_in_python, expected_name
from harness.store.store import Store

GO, NO_GO = {}, {"base": 0.6, "tuned": 0.5}


def verdicts(pytester: pytest.Pytester) -> dict[str, tuple[str, str]]:
    entries = json.loads((pytester.path / "reports" / "verdicts.json").read_text())
    return {entry["experiment"]: (entry["verdict"], entry["report"]) for entry in entries}


def test_two_files_of_one_name_keep_their_verdicts_pages_and_rows_apart(pytester, lamps):
    lamps("a/tickets", **GO)
    lamps("b/tickets", **NO_GO)
    result = pytester.runpytest("experiments")

    result.assert_outcomes(passed=1, failed=1)
    assert verdicts(pytester) == {
        "a-tickets": ("GO", "a-tickets.html"),
        "b-tickets": ("NO_GO", "b-tickets.html"),
    }
    result.stdout.fnmatch_lines(["experiments/a/tickets.py is called a-tickets: *"])
    store = Store(pytester.path / "reports" / "results.duckdb")
    assert [store.evidence(name).decision.verdict for name in ("a-tickets", "b-tickets")] == ["GO", "NO_GO"]

    again = pytester.runpytest("experiments", "--lf", "--collect-only")
    again.stdout.fnmatch_lines(["b-tickets: 8 stages stored, 0 to run*"])


def test_run_in_two_sessions_each_keeps_the_name_that_it_got(pytester, lamps):
    lamps("a/tickets", **GO)
    lamps("b/tickets", **NO_GO)
    pytester.runpytest("experiments/b")
    pytester.runpytest("experiments/a")
    before = verdicts(pytester)
    pytester.runpytest("experiments")

    assert (
        before
        == verdicts(pytester)
        == {
            "tickets": ("NO_GO", "tickets.html"),
            "a-tickets": ("GO", "a-tickets.html"),
        }
    )


def test_two_workers_call_two_files_of_one_name_alike(pytester, lamps):
    lamps("a/tickets", **GO)
    lamps("b/tickets", **NO_GO)
    result = pytester.runpytest_subprocess("experiments", "-n", "2")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines_random(["GO * a-tickets: *", "NO_GO * b-tickets: *"])
    result.stdout.fnmatch_lines_random(["experiments/b/tickets.py is called b-tickets: another page*"])
    assert Store(pytester.path / "reports" / "results.duckdb").experiments() == ("a-tickets", "b-tickets")


def test_an_experiment_called_index_leaves_the_index_alone(pytester, lamps):
    lamps("index")
    result = pytester.runpytest("experiments")

    result.assert_outcomes(passed=1)
    assert verdicts(pytester) == {"experiments-index": ("GO", "experiments-index.html")}
    assert "experiments-index.html" in (pytester.path / "reports" / "index.html").read_text()


def test_helpers_of_one_name_beside_the_files_are_not_mixed(pytester, lamps):
    for folder, changes in (("a", GO), ("b", NO_GO)):
        path = lamps(f"{folder}/made", **changes)
        path.rename(path.with_name("helpers.py"))
        (path.parent / "tickets.py").write_text("from helpers import experiment\n")
    result = pytester.runpytest("experiments")

    result.assert_outcomes(passed=2, failed=2)  # the helpers' own experiments too
    assert {name: verdict for name, (verdict, _) in verdicts(pytester).items() if "tickets" in name} == {
        "a-tickets": "GO",
        "b-tickets": "NO_GO",
    }


@pytest.fixture
def store(tmp_path):
    return tmp_path / "reports" / "results.duckdb"


@pytest.fixture
def claimed(tmp_path, store):
    """Claim a name for a file below tmp_path, as a session in tmp_path does."""

    def claim(shown: str, *others: str, question: str = "Tune?") -> str:
        file = tmp_path / shown
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        beside = [tmp_path / other for other in others]
        expected = expected_name(store, file, others=beside)
        found = claim_name(store, file, shown=file.relative_to(tmp_path), question=question, others=beside)
        assert expected == found == expected_name(store, file)
        return found

    return claim


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["x/tickets.py"], ["tickets"]),
        (["x/tickets.py", "y/tickets.py"], ["x-tickets", "y-tickets"]),
        (["x/a/tickets.py", "y/a/tickets.py"], ["x-a-tickets", "y-a-tickets"]),
        (["x/Tickets.py", "y/tickets.py"], ["x-Tickets", "y-tickets"]),
        (["experiments/con.py", "experiments/Index.py"], ["experiments-con", "experiments-Index"]),
        (["x/caf\u00e9.py", "y/cafe\u0301.py"], ["x-caf\u00e9", "y-cafe\u0301"]),
    ],
)
def test_a_name_has_as_many_folders_as_tell_it_apart(claimed, files, names):
    def folded(file):
        return unicodedata.normalize("NFC", Path(file).stem).casefold()

    found = [claimed(one, *(o for o in files if o != one and folded(o) == folded(one))) for one in files]
    assert found == names


def test_a_file_that_moved_takes_its_experiment_along(claimed, tmp_path):
    assert claimed("a/tickets.py") == "tickets"
    (tmp_path / "a" / "tickets.py").unlink()

    assert claimed("b/tickets.py") == "tickets"
    assert claimed("a/tickets.py") == "a-tickets"


def test_a_copied_project_keeps_its_names(claimed, tmp_path):
    claimed("a/tickets.py")
    claimed("b/tickets.py")
    copy = tmp_path / "copy"
    (copy / "reports").mkdir(parents=True)
    for path in (tmp_path / "reports").iterdir():
        if path.is_file():
            (copy / "reports" / path.name).write_bytes(path.read_bytes())
    (copy / "b").mkdir()
    file = copy / "b" / "tickets.py"
    file.touch()

    assert (
        claim_name(copy / "reports" / "results.duckdb", file, shown=file.relative_to(copy), question="?") == "b-tickets"
    )


def test_a_store_of_an_older_version_knows_its_files(tmp_path, store, write_experiment):
    from harness.api import load_experiment, run_and_report
    from harness.runner.run import Options

    paths = [write_experiment(tmp_path / folder / "lamps.py") for folder in ("a", "b")]
    run_and_report(
        load_experiment(paths[0]),
        name="lamps",
        store_path=store,
        options=Options(file=paths[0], shown=paths[0].relative_to(tmp_path)),
    )
    names = [
        claim_name(store, path, shown=path.relative_to(tmp_path), question="Should the lamps be tuned?")
        for path in reversed(paths)
    ]

    assert names == ["b-lamps", "lamps"]


def test_a_name_chosen_in_python_takes_no_file_s_experiment(claimed, store):
    claimed("a/tickets.py")
    with pytest.raises(InvalidExperiment, match=r"has an experiment 'tickets' from the file .*a/tickets.py; give this"):
        claim_name_in_python(store, "tickets", question="Tune?", chosen=True)
    assert claim_name_in_python(store, "words", question="Tune?", chosen=False) == "words"
    assert claim_name_in_python(store, "words", question="Tune?", chosen=False) == "words"


@pytest.mark.parametrize("name", ["index", "INDEX", "nul", "", " ", "a/b", "../up", ".hidden", "what?"])
def test_a_name_that_no_page_can_have_is_refused(name):
    with pytest.raises(InvalidExperiment, match="an experiment cannot be called"):
        check_name(name)
