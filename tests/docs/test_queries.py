"""The queries of docs/how-to/ask-the-store.md answer what they say they answer."""

import re
from pathlib import Path

import pytest

from harness.api import load_experiment, run_and_report
from harness.runner.run import Options
from harness.store.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "ask-the-store.md").read_text(encoding="utf-8")
FIRST = re.search(r"```sql\n(.*?)```", PAGE, re.DOTALL)[1]
IN_TABLE = re.findall(r"^\|[^|]*\| `(SELECT [^`]*)` \|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def store(tmp_path_factory, write_experiment):
    """A run in which the base model knows the first 40 of 100 holdout samples, and tuning breaks the first 30."""
    folder = tmp_path_factory.mktemp("queries")
    path = write_experiment(folder / "lamps.py", base=0.4, tuned=0.9)
    broken = 'learned |= {prompt: "broken" for prompt in list(learned)[9 : 9 + 30]}\n'
    path.write_text(path.read_text().replace("model = Scripted(", broken + "model = Scripted(", 1))
    store = Store(folder / "reports" / "results.duckdb")
    run_and_report(load_experiment(path), name="home_commands", store_path=store.path, options=Options(file=path))
    return store


def test_the_first_query_names_the_holdout_samples_that_tuning_broke(store):
    names, records = store.query(FIRST)

    assert names == ["sample_id", "input", "reference", "baseline_said", "tuned_said", "seed"]
    colours = ("red", "green", "blue", "amber", "white")
    # Train and dev took the numbers 0 to 19, so the holdout begins with 20.
    expected = [
        (f"holdout-{n}", f"lamp {n * 7919} please", colours[n % 5], colours[n % 5], "broken", 0) for n in range(20, 50)
    ]
    assert records == expected


def test_there_are_more_queries():
    assert len(IN_TABLE) >= 6


@pytest.mark.parametrize("query", IN_TABLE)
def test_every_query_of_the_table_finds_rows(store, query):
    assert store.query(query)[1]
