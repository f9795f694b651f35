"""An older file: what its answers' seconds can still say."""

from importlib import resources
from pathlib import Path

import duckdb
import pytest

from harness.store.database import transaction


def older(path: Path) -> None:
    """Write a file of version 6 with one stage of batches, one of an endpoint and one of choices without times."""
    files = resources.files("harness.store")
    with duckdb.connect(str(path)) as connection:
        for source in ("schema.sql", *(f"migrations/{number:04d}.sql" for number in range(2, 7))):
            connection.execute((files / source).read_text(encoding="utf-8"))
        connection.execute("INSERT INTO schema_version VALUES (6)")
        for key, engine, seconds in (
            ("batch", "transformers", 3.0),
            ("server", "endpoint", 3.0),
            ("c", "scripted", 8.0),
        ):
            connection.execute(
                "INSERT INTO stages VALUES (?, 'e', 'answer', 's', 'dev', 0, now()::TIMESTAMP, ?, 0, 0, ?, NULL)",
                [key, seconds, f'{{"engine": "{engine}"}}'],
            )
            for name in ("a", "b"):
                connection.execute(
                    "INSERT INTO answers VALUES (?, ?, 0, '', '', NULL, 1, 1, ?, 'stop', '')",
                    [key, name, 0.0 if key == "c" else 0.5],
                )
        for name in ("a", "b"):
            connection.execute("INSERT INTO likelihoods VALUES ('c', ?, 'yes', -1.0, 1, 3, true)", [name])


@pytest.mark.parametrize(
    ("key", "expected"),
    [("batch", (0.5, 0)), ("server", (0.5, None)), ("c", (4.0, 0))],  # no answer was free
)
def test_older_times_are_kept_with_the_doubt_they_have(tmp_path: Path, key: str, expected: tuple[float, int | None]):
    path = tmp_path / "results.duckdb"
    older(path)

    with transaction(path) as connection:
        rows = connection.execute(
            "SELECT DISTINCT seconds, timed_in_batch FROM answers WHERE stage_key = ?", [key]
        ).fetchall()
    assert rows == [expected]
