"""`harness data pairs`: stored answers become preference pairs; the holdout's only on demand, and with a warning."""

import json
from pathlib import Path

import pytest

from harness.api import load_experiment, run_and_report
from harness.cli.__main__ import main
from harness.data.preferences import read_pairs
from harness.runner.run import Options


@pytest.fixture(scope="module")
def measured(tmp_path_factory, write_experiment) -> Path:
    """A folder in which an experiment was run whose tuned system knows more answers than its baseline."""
    folder = tmp_path_factory.mktemp("measured")
    path = write_experiment(folder / "experiments" / "lamps.py", metrics="[ExactMatch(), Preference()]")
    store = folder / "reports" / "results.duckdb"
    run_and_report(load_experiment(path), name="lamps", store_path=store, options=Options(file=path))
    return folder


@pytest.fixture
def here(measured, monkeypatch) -> Path:
    monkeypatch.chdir(measured)
    return measured


def harness(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    code = main(arguments)
    shown = capsys.readouterr()
    return code, shown.out.splitlines(), shown.err.splitlines()


def test_the_better_answer_of_each_dev_sample_is_chosen(capsys, here) -> None:
    code, lines, errors = harness(capsys, "data", "pairs", "lamps", "--metric", "exact_match", "--output", "p.jsonl")

    rows = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert (code, errors) == (0, [])
    assert lines[0].startswith(f"{len(rows)} pairs of ")
    assert lines[-1] == "wrote p.jsonl"
    assert {row["split"] for row in rows} == {"dev"}
    assert {(row["chosen_score"], row["rejected_score"]) for row in rows} == {(1.0, 0.0)}
    # Every sample is accounted for: a pair, or a reason.
    left = sum(int(line.split()[2].replace(",", "")) for line in lines[1:-1])
    assert len(rows) + left == int(lines[0].split()[3].replace(",", ""))
    assert [pair.text for pair in read_pairs("p.jsonl")] == [row["prompt"] for row in rows]


def test_pairs_of_the_holdout_are_made_on_demand_with_a_warning(capsys, here) -> None:
    code, _, (line,) = harness(
        capsys, "data", "pairs", "lamps", "--metric", "exact_match", "--split", "holdout", "--output", "h.jsonl"
    )

    assert code == 0
    assert {json.loads(row)["split"] for row in Path("h.jsonl").read_text().splitlines()} == {"holdout"}
    assert line.startswith("harness: these pairs hold answers to the holdout")
    assert "the holdout is spent" in line


def test_the_votes_of_a_pair_metric_choose_between_the_pair_that_was_compared(capsys, here) -> None:
    """They are cast on the holdout alone, so that by default there is nothing to take."""
    command = ("data", "pairs", "lamps", "--metric", "preference")
    code, _, (line,) = harness(capsys, *command)
    assert (code, line) == (
        2,
        "harness: lamps has no scores by preference on train or dev, only on holdout; answers to the holdout are taken "
        "with --split holdout, which spends it",
    )

    code, lines, _ = harness(capsys, *command, "--split", "holdout", "--output", "v.jsonl")

    rows = [json.loads(row) for row in Path("v.jsonl").read_text().splitlines()]
    assert code == 0
    assert {(row["chosen_score"], row["rejected_score"]) for row in rows} == {(1.0, 0.0)}
    assert {len({row["chosen_system"], row["rejected_system"]}) for row in rows} == {2}
    assert any("not better than the worst" in line for line in lines)  # both right or both wrong: a tie


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lamps", "--metric", "rouge"), "harness: lamps has no scores by 'rouge'; it has exact_match, preference"),
        (("gone", "--metric", "exact_match"), "harness: no experiment 'gone' in reports/results.duckdb; it has lamps"),
        (
            ("lamps", "--metric", "exact_match", "--margin", "1"),
            "harness: no pair could be made by exact_match of lamps",
        ),
        (
            ("lamps", "--metric", "exact_match", "--split", "train"),
            "harness: lamps has no scores by exact_match on train",
        ),
        (("lamps", "--metric", "exact_match", "--store", "no.duckdb"), "harness: no.duckdb does not exist"),
    ],
)
def test_what_cannot_be_made_is_one_line_with_the_way_out(capsys, here, arguments, said) -> None:
    code, _, (line,) = harness(capsys, "data", "pairs", *arguments)

    assert code == 2
    assert line.startswith(said)


@pytest.mark.parametrize("action", ["check", "pairs"])
def test_each_action_shows_an_example(capsys, action) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["data", action, "--help"])

    assert caught.value.code == 0
    assert f"example: harness data {action}" in capsys.readouterr().out
