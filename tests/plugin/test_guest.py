"""The plugin in projects that are not its own: what it looks at, imports, and calls its options."""

import pytest

ITEM = "experiments/lamps.py::experiment"
STOPS = "raise SystemExit('it was imported')\n"


def collected(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line and not line.startswith("ERROR")]


@pytest.mark.parametrize(
    "text",
    [
        "experiment = 'harness'\n" + STOPS,
        "import harness\nexperiment = start()\n" + STOPS,
        "from harness import Experiment\nexperiment = None\n" + STOPS,
        "from elsewhere import Experiment  # not of harness\nexperiment = Experiment()\n" + STOPS,
        "def f():\n    from harness import Experiment\n    experiment = Experiment()\n" + STOPS,
    ],
)
def test_outside_the_experiments_folder_nothing_else_is_imported(pytester, text):
    pytester.makepyfile(tool=text, test_own="def test_one(): pass\n")
    result = pytester.runpytest()

    result.assert_outcomes(passed=1)
    assert result.ret == 0


@pytest.mark.parametrize(
    "declared",
    [
        "from harness import Experiment\nexperiment = Experiment(**made)\n",
        "from harness import Experiment as E\nexperiment: E = E(**made)\n",
        "import harness\nif True:\n    experiment = harness.Experiment(**made)\n",
        "import harness as h\n(experiment := h.Experiment(**made))\n",
        "from harness.experiment.experiment import Experiment\n"
        "try:\n    experiment = Experiment(**made)\nfinally: pass\n",
    ],
)
def test_a_file_that_says_so_is_an_experiment_wherever_it_lies(pytester, lamps, declared):
    base = lamps("made")
    base = base.rename(pytester.path / "made_lamps.py")
    base.write_text(base.read_text().replace("experiment = Experiment(", "made = dict("))
    (pytester.path / "studies").mkdir()
    (pytester.path / "studies" / "one.py").write_text(
        f"import sys\nsys.path.insert(0, '.')\nfrom made_lamps import made\n{declared}"
    )
    result = pytester.runpytest("--collect-only", "-q")

    assert collected(result) == ["studies/one.py::experiment"]


@pytest.mark.parametrize(
    "text",
    [
        "from helpers import build\nexperiment = build()\n",
        "from helpers import build as make\nif True:\n    experiment = make()\nelse:\n    experiment = None\n",
        "from helpers import *\n",
        "from helpers import ready as experiment\n",
        "import helpers\nexperiment: object = helpers.ready\n",
        "import helpers\n(experiment := helpers.ready)\n",
        "import helpers\ntry:\n    experiment = helpers.gone\nexcept AttributeError:\n    experiment = helpers.ready\n",
        "import helpers\nfor experiment in [helpers.ready]: pass\n",
        "import helpers\nglobals()['experiment'] = helpers.ready\n",
        "import helpers\ndef build():\n    global experiment\n    experiment = helpers.ready\nbuild()\n",
    ],
)
def test_in_the_experiments_folder_it_is_found_however_it_is_assigned(pytester, lamps, text):
    path = lamps("made")
    path.write_text(path.read_text() + "\nready, build = experiment, lambda: experiment\n")
    path.rename(path.with_name("helpers.py"))
    (path.parent / "tickets.py").write_text(text)
    result = pytester.runpytest("--collect-only", "-q", "experiments")

    assert "experiments/tickets.py::experiment" in collected(result)
    assert result.ret == 0


def test_a_file_that_nothing_shows_to_be_ours_is_named_and_not_imported(pytester, lamps):
    lamps()
    (pytester.path / "experiments" / "other.py").write_text("experiment = 'of another tool'\n" + STOPS)
    (pytester.path / "experiments" / "notes.py").write_text("from harness import Experiment\n" + STOPS)
    (pytester.path / "experiments" / "_plots.py").write_text(STOPS)
    result = pytester.runpytest("--collect-only", "-q", "experiments")

    assert collected(result) == [ITEM]
    result.stdout.fnmatch_lines(
        [
            "harness: experiments/other.py: `experiment` is assigned, but nothing in reach shows*harness_experiments",
            "harness: experiments/notes.py: no `experiment` is defined there, so nothing is measured",
        ]
    )


def test_of_a_file_that_is_named_alone_its_neighbours_are_not_told(pytester, lamps):
    folder = lamps().parent
    (folder / "other.py").write_text("experiment = 'of another tool'\n" + STOPS)
    (folder / "notes.py").write_text("from harness import Experiment\n")
    result = pytester.runpytest("--collect-only", "-q", "experiments/notes.py")

    said = [line for line in result.outlines if line.startswith("harness:")]
    assert said == ["harness: experiments/notes.py: no `experiment` is defined there, so nothing is measured"]


def test_a_plain_run_of_a_project_of_others_says_nothing(pytester):
    folder = pytester.mkdir("experiments")
    (folder / "train.py").write_text("experiment = start()\n" + STOPS)
    (folder / "plot.py").write_text(STOPS)
    pytester.makepyfile(test_own="def test_one(): pass\n")
    result = pytester.runpytest()

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*harness:*")


def test_the_ini_option_names_the_folders(pytester, lamps):
    lamps().parent.rename(pytester.path / "studies")
    path = pytester.path / "studies" / "lamps.py"
    path.write_text(path.read_text().replace("experiment = Experiment", "made = Experiment") + "experiment = made\n")
    assert collected(pytester.runpytest("--collect-only", "-q")) == []

    pytester.makeini("[pytest]\nharness_experiments = studies\n")
    assert collected(pytester.runpytest("--collect-only", "-q")) == ["studies/lamps.py::experiment"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import sys\nsys.exit('usage: lamps')\n",
            "experiments/odd.py ends Python when it is imported (sys.exit('usage: lamps'))*",
        ),
        ("raise SystemExit\n", "experiments/odd.py ends Python when it is imported (sys.exit(None))*"),
        ("experiment = 'words'\n", "experiments/odd.py: `experiment` is a str, not an Experiment; write*"),
        ("experiment = Experiment\n", "experiments/odd.py: `experiment` is the class Experiment, not an Experiment*"),
        ("experiment = lambda: 1\n", "experiments/odd.py: `experiment` is a function, not an Experiment*"),
    ],
)
def test_a_file_that_is_wrong_is_one_error_and_the_others_are_collected(pytester, lamps, text, said):
    lamps()
    (pytester.path / "experiments" / "odd.py").write_text(
        f"from harness import Experiment\n{text}experiment = experiment\n"
    )
    result = pytester.runpytest("--collect-only", "experiments", "--continue-on-collection-errors")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])
    result.stdout.fnmatch_lines(["*ExperimentItem experiment*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    "content",
    [
        b"\x00experiment",
        b"\xff\xfe harness experiment",
        b"# -*- coding: nonsense -*-\nexperiment = harness\n",
        b"(" * 5000 + b" experiment harness",
    ],
)
def test_a_file_that_is_no_python_is_an_error_of_its_own(pytester, lamps, content):
    lamps()
    (pytester.path / "experiments" / "odd.py").write_bytes(content)
    result = pytester.runpytest("--collect-only", "-q", "experiments", "--continue-on-collection-errors")

    assert collected(result) == [ITEM]
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_pattern_that_names_every_file_collects_an_experiment_once(pytester, lamps):
    lamps()
    pytester.makeini("[pytest]\npython_files = *.py\n")
    assert collected(pytester.runpytest("--collect-only", "-q")) == [ITEM]


def test_tests_beside_a_value_called_experiment_stay_pytests_own(pytester):
    path = pytester.makepyfile(bench="experiment = 'harness'\ndef test_one(): pass\n")
    pytester.runpytest(path).assert_outcomes(passed=1)


TAKEN = """
def pytest_addoption(parser):
    group = parser.getgroup("theirs")
    group.addoption("--fresh", action="store_true", help="theirs")
    group.addoption("--store", default="theirs")
    group.addoption("--until", dest="harness_until_of_theirs")
"""


@pytest.mark.parametrize("early", [True, False], ids=["a plugin before", "a conftest after"])
def test_short_names_that_others_have_stay_theirs(pytester, lamps, early):
    lamps()
    if early:
        pytester.makepyfile(theirs=TAKEN)
        pytester.syspathinsert()
    else:
        pytester.makeconftest(TAKEN)
    arguments = ["-p", "theirs"] if early else []
    result = pytester.runpytest(
        *arguments,
        "experiments",
        "--fresh",
        "--store",
        "x",
        "--harness-store=own/r.duckdb",
        "--harness-until",
        "baseline",
    )

    result.assert_outcomes(skipped=1)
    assert (pytester.path / "own" / "r.duckdb").exists()
    assert not (pytester.path / "reports").exists()


def test_short_and_long_names_mean_the_same(pytester, lamps):
    lamps()
    for arguments in (
        ["--store", "a/r.duckdb", "--until", "baseline"],
        ["--harness-store=b/r.duckdb", "--harness-until=baseline"],
    ):
        pytester.runpytest("experiments", *arguments).assert_outcomes(skipped=1)

    assert (pytester.path / "a" / "r.duckdb").exists()
    assert (pytester.path / "b" / "r.duckdb").exists()
    shown = pytester.runpytest("--help").stdout.str()
    assert "--harness-ignore-memory" in shown
    assert "--ignore-memory" in shown
