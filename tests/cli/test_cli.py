"""The command line: what each command prints, and how it exits."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.api import load_experiment, run_and_report
from harness.cli.__main__ import main
from harness.runner.run import Options
from harness.store.store import Store

COMMANDS = (
    "new",
    "plan",
    "report",
    "verdict",
    "verify",
    "compare",
    "sql",
    "data",
    "memory",
    "recipe",
    "tuner",
    "vllm",
    "doctor",
)
KINDS = {
    "go": {},
    "no_go": {"base": 0.6, "tuned": 0.5},
    "inconclusive": {"base": 0.5, "tuned": 0.54},
    "invalid": {"learn": 0.0},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, write_experiment) -> Path:
    """A folder in which one experiment of each verdict was run."""
    folder = tmp_path_factory.mktemp("measured")
    for name, changes in KINDS.items():
        path = write_experiment(folder / "experiments" / f"{name}.py", **changes)
        store = folder / "reports" / "results.duckdb"
        run_and_report(load_experiment(path), name=name, store_path=store, options=Options(file=path))
    return folder


@pytest.fixture
def here(measured, monkeypatch) -> Path:
    monkeypatch.chdir(measured)
    return measured


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def harness(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    """Return exit code, lines of stdout, lines of stderr."""
    code = main(arguments)
    shown = capsys.readouterr()
    return code, shown.out.splitlines(), shown.err.splitlines()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])

    assert caught.value.code == 0
    assert f"example: harness {command}" in capsys.readouterr().out


def test_every_command_is_listed_and_tested(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])

    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines[lines.index("positional arguments:") :] if re.match(r" {4}\w", line)]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize(("name", "code"), [("go", 0), ("no_go", 1), ("inconclusive", 3), ("invalid", 4)])
def test_verdict_exits_by_verdict(capsys, here, name, code):
    found, (line,), _ = harness(capsys, "verdict", name)

    assert found == code
    assert line.startswith(f"{name.upper():<13} {name}: ")


def test_verdict_of_all_exits_by_the_worst(capsys, here):
    code, lines, _ = harness(capsys, "verdict")

    assert code == 4
    assert [line.split()[0] for line in lines] == ["GO", "INCONCLUSIVE", "INVALID", "NO_GO"]


def test_what_was_never_measured_exits_like_what_could_not_be(capsys, here):
    assert harness(capsys, "verdict", "unheard_of") == (
        4,
        ["never measured: unheard_of; run pytest experiments/unheard_of.py first"],
        [],
    )


def test_without_a_store_nothing_was_measured(capsys, nowhere):
    code, (line,), _ = harness(capsys, "verdict")

    assert (code, line) == (
        4,
        "never measured: reports/results.duckdb does not exist; run pytest experiments/ first",
    )
    assert list(nowhere.iterdir()) == []


def test_report_draws_every_page_again(capsys, here):
    page = here / "reports" / "go.html"
    drawn = page.read_text()
    page.unlink()
    code, lines, _ = harness(capsys, "report")

    assert code == 0
    pages = [f"reports/{name}.html" for name in sorted(KINDS)]
    assert lines == [*pages, "reports/index.html", "reports/verdicts.json", "reports/summary.md"]
    assert page.read_text() == drawn


def test_report_of_one_prints_its_page(capsys, here):
    assert harness(capsys, "report", "go") == (0, ["reports/go.html"], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "gone"), "harness: no experiment 'gone' in reports/results.duckdb; it has go, inconclusive, "),
        (("report", "--store", "x.duckdb"), "harness: x.duckdb does not exist; run pytest experiments/ first"),
        (("sql", "SELECT 1", "--store", "x.duckdb"), "harness: x.duckdb does not exist; run pytest experiments/ first"),
        (("plan", "gone.py"), "harness: gone.py does not exist; name an experiment file, such as"),
        (("new", "index"), "harness: an experiment cannot be called 'index': index.html lists all experiments; give"),
        (("plan", "experiments"), "harness: experiments does not exist; name an experiment file"),
        (("verdict", "--store", "experiments"), "harness: experiments is a folder; give --store the path of a file"),
        (("sql", "SELECT 1", "--store", "experiments/go.py"), "harness: experiments/go.py cannot be opened (it is no"),
        (("new", "1st"), "harness: '1st' cannot name a file of Python; use letters, digits and _"),
        (("data", "check", "gone.jsonl"), "harness: gone.jsonl: no such file"),
        (("data", "check", "gone.docx"), "harness: gone.docx: the ending '.docx' is unknown"),
    ],
)
def test_a_mistake_is_one_line_with_the_way_out(capsys, here, arguments, message):
    code, out, errors = harness(capsys, *arguments)

    assert (code, out, len(errors)) == (2, [], 1)
    assert errors[0].startswith(message)
    assert not Path("x.duckdb").exists()


def test_sql_prints_a_table(capsys, here):
    query = "SELECT experiment, verdict FROM decisions WHERE experiment LIKE '%go' ORDER BY experiment"

    assert harness(capsys, "sql", query) == (0, ["experiment\tverdict", "go\tGO", "no_go\tNO_GO"], [])


def test_sql_that_fails_says_why(capsys, here):
    code, out, (line,) = harness(capsys, "sql", "SELECT * FROM scorebord")

    assert (code, out) == (2, [])
    assert line.startswith("harness: Catalog Error: Table with name scorebord does not exist!")
    assert line.endswith('; the tables: harness sql "SHOW TABLES"')


@pytest.mark.parametrize("statement", ["DELETE FROM answers", "DROP TABLE scores", "DELETE FROM answers; COMMIT"])
def test_sql_changes_nothing(capsys, here, statement):
    store = Store(here / "reports" / "results.duckdb")
    before = store.query("SELECT count(*) FROM answers")[1]

    assert harness(capsys, "sql", statement)[0] == 2
    assert store.query("SELECT count(*) FROM answers")[1] == before


def test_plan_shows_what_is_stored_and_what_would_run(capsys, here):
    code, lines, _ = harness(capsys, "plan", "experiments/go.py")

    assert code == 0
    assert lines[0].startswith("go: 100 holdout samples show a true difference in exact_match of about 14.0 pts")
    assert lines[1:] == [
        "go: 8 stages stored, 0 to run, 0 that depend on what is found",
        "  stored    audit data",
        "  stored    answer zero-shot on dev",
        "  stored    noise zero-shot, in reversed order on dev",
        "  stored    noise zero-shot, one at a time on dev",
        "  stored    tune scripted-tuning",
        "  stored    answer scripted-tuning on dev",
        "  stored    answer zero-shot on holdout",
        "  stored    answer scripted-tuning on holdout",
    ]


def test_plan_names_the_file_that_declares_nothing(capsys, nowhere):
    Path("empty.py").write_text("x = 1\n")
    Path("refused.py").write_text("from harness import Model\nModel('')\n")
    for name, text in {
        "odd": "x = (\n",
        "ends": "import sys; sys.exit(3)\n",
        "lacks": "import no_such_module\n",
    }.items():
        Path(f"{name}.py").write_text(text)

    assert harness(capsys, "plan", "empty.py")[2] == [
        "harness: empty.py assigns no `experiment`; write experiment = Experiment(...)"
    ]
    assert harness(capsys, "plan", "odd.py")[2][0].startswith("harness: odd.py, line 1: '(' was never closed")
    assert harness(capsys, "plan", "ends.py")[2][0].startswith("harness: ends.py ends Python when it is imported")
    assert harness(capsys, "plan", "lacks.py")[2] == [
        "harness: lacks.py raised ModuleNotFoundError when it was imported: No module named 'no_such_module'; "
        "`python lacks.py` shows where"
    ]
    assert harness(capsys, "plan", "refused.py")[2][0].startswith('harness: refused.py: Model("") names nothing')


def test_new_writes_an_experiment_that_pytest_collects_as_it_stands(capsys, nowhere):
    assert harness(capsys, "new", "my_tickets") == (
        0,
        ["wrote experiments/my_tickets.py", "wrote experiments/my_tickets.jsonl"],
        [],
    )
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "experiments"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert collected.stdout.splitlines()[0] == "experiments/my_tickets.py::experiment"
    assert "my_tickets: 0 stages stored" in collected.stdout
    assert load_experiment(Path("experiments/my_tickets.py")).seeds == (1, 2, 3)  # a lucky training is no GO


def test_new_runs_to_a_verdict_on_another_model(capsys, nowhere):
    harness(capsys, "new", "tickets")
    path = Path("experiments/tickets.py")
    text = path.read_text()
    for written, scripted in (
        ("from harness import", "from harness.inference.scripted import Scripted, ScriptedTuning\nfrom harness import"),
        ('"smollm2-135m-instruct"', "Scripted()"),
        ("SFT(adapter=LoRA(rank=16), epochs=3)", "ScriptedTuning()"),
    ):
        assert written in text
        text = text.replace(written, scripted, 1)
    path.write_text(text)
    store = Path("reports/results.duckdb")
    outcome = run_and_report(load_experiment(path), name="tickets", store_path=store, options=Options(file=path))

    assert outcome.decision.verdict.value in ("NO_GO", "INCONCLUSIVE")  # the script knows none of the answers


def test_new_overwrites_nothing(capsys, nowhere):
    harness(capsys, "new", "tickets")
    Path("experiments/tickets.py").write_text("mine")
    code, _, (line,) = harness(capsys, "new", "tickets")

    assert (code, line) == (2, "harness: experiments/tickets.py exists already; choose another name")
    assert Path("experiments/tickets.py").read_text() == "mine"


def test_data_check_counts_rows_repeats_and_contradictions(capsys, nowhere):
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(58)]
    rows += [{"prompt": "Question 3", "completion": "answer 3"}, {"prompt": "question 4", "completion": "no"}]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, lines, _ = harness(capsys, "data", "check", "rows.jsonl")

    assert code == 0
    assert lines[0].startswith("rows.jsonl: 60 rows, format prompt")
    assert lines[1:3] == [
        "columns: 60 rows of format prompt_completion: 'prompt' -> 'completion'",
        "lengths: 20 characters at the median, 20 at most",
    ]
    assert lines[3:5] == [
        "duplicates: 2 rows repeat an earlier input (take them out)",
        "conflicts: 1 inputs have more than one answer, first 'question 4'",
    ]
    assert lines[5] == (
        "size: a task trains on 55 of 60 samples: 55 training examples: for short or structured answers 1,000 to 5,000 "
        "are usual, since a form and where its parts come from must be learned; curve=(0.25, 0.5, 1.0) shows whether "
        "more would help."
    )
    assert lines[6] == "size: its holdout has 3; 200 or more decide differences of several points"


def test_data_check_names_its_own_options(capsys, nowhere):
    Path("rows.csv").write_text("left,right\na,b\n")

    code, _, (line,) = harness(capsys, "data", "check", "rows.csv")

    assert code == 2
    assert line.endswith("or name the columns: --input, --reference")
    assert harness(capsys, "data", "check", "rows.csv", "--input", "left", "--reference", "right")[0] == 0


def test_data_check_names_file_row_and_field(capsys, nowhere):
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(60)]
    del rows[36]["completion"]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, errors = harness(capsys, "data", "check", "rows.jsonl")

    assert (code, errors) == (1, [])
    assert out[2].startswith("cannot be read: rows.jsonl, row 37")
    assert "'completion'" in out[2]
    assert out[3].startswith("unreadable: 1 of 60 rows")


def test_doctor_looks_at_everything_a_run_needs(capsys, here):
    code, lines, _ = harness(capsys, "doctor")

    assert all(line.startswith(("ok   ", "BAD  ")) for line in lines)
    assert code == (1 if any(line.startswith("BAD") for line in lines) else 0)
    for word in ("Python", "torch", "duckdb", "default model", "cache folder", "reports folder"):
        assert any(word in line for line in lines), word


def test_an_unknown_command_is_argparses_own_error(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["frobnicate"])

    assert caught.value.code == 2
    assert "invalid choice: 'frobnicate'" in capsys.readouterr().err


def test_a_character_that_the_terminal_lacks_is_shown_by_its_number(here, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    code = main(["sql", "SELECT '\u8bf7' AS word"])
    sys.stdout.flush()

    assert (code, written.getvalue()) == (0, b"word\n\\u8bf7\n")


def test_an_error_of_the_system_is_one_line(capsys, nowhere):
    Path("experiments").touch()

    assert harness(capsys, "new", "tickets") == (
        2,
        [],
        ["harness: experiments: File exists; name a place that is there and that you may use"],
    )
