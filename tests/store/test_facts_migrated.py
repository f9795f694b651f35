"""An older file: facts that were read out of its sentences and names stand in columns of their own."""

import json
from importlib import resources
from pathlib import Path

import duckdb

from harness.store.database import transaction


def older(path: Path) -> None:
    """Write a file of version 7 with the names and sentences that facts were read out of."""
    files = resources.files("harness.store")
    findings = [
        {"criterion": "m: a rise of at least 5.0 pts", "metric": "m"},
        {"criterion": "m: at least 80.0 %", "metric": "m"},
        {"criterion": "break_even: payback within 9 requests", "metric": "break_even"},
    ]
    with duckdb.connect(str(path)) as connection:
        for source in ("schema.sql", *(f"migrations/{number:04d}.sql" for number in range(2, 8))):
            connection.execute((files / source).read_text(encoding="utf-8"))
        connection.execute("INSERT INTO schema_version VALUES (7)")
        for metric, method in (("m", "t"), ("codes: m", "t"), ("early", "always-valid betting")):
            connection.execute(
                "INSERT INTO comparisons (experiment, metric, split, baseline, tuned, better, samples, seeds, method) "
                "VALUES ('e', ?, 'holdout', 'b', 't', 'higher', 1, 1, ?)",
                [metric, method],
            )
        for place, detail in enumerate(("2 copies; left out of the verdict, with 2 of 9", "no copies")):
            connection.execute("INSERT INTO checks VALUES ('e', ?, 'n', 'ok', ?, '[]', 'data')", [place, detail])
        near = "FewShot(select='nearest')"
        for name, said in (("rag-8", "RAG()"), ("storage", "ZeroShot()"), ("near", near)):
            connection.execute(
                "INSERT INTO systems VALUES ('e', ?, 'baseline', 'x', ?, false, NULL, NULL)", [name, said]
            )
        connection.execute(
            "INSERT INTO decisions VALUES ('e', now()::TIMESTAMP, 'GO', '', ?, 'k', false, false, 2)",
            [json.dumps(findings)],
        )


def test_older_rows_have_the_facts_that_their_words_told(tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    older(path)

    with transaction(path) as connection:

        def rows(query: str) -> list[tuple[object, ...]]:
            return connection.execute(query).fetchall()

        told = rows("SELECT guard, always_valid FROM comparisons ORDER BY rowid")
        assert told == [(False, False), (True, False), (False, True)]
        assert rows("SELECT excused FROM checks ORDER BY position") == [(True,), (False,)]
        assert rows("SELECT retrieves FROM systems ORDER BY rowid") == [(True,), (False,), (True,)]
        ((about,),) = rows("SELECT about FROM decisions")
    assert json.loads(str(about)) == ["difference", "mean", "requests"]
