"""Opening the file: one process at a time, one schema, and words for everything that can be wrong with it."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib import resources

import duckdb
import pytest

from harness.errors import StageFailed
from harness.store.database import SCHEMA_VERSION, transaction

# Holds the file, as a notebook would, and lets go after a moment.
HOLDER = """
import sys, time
import duckdb
with duckdb.connect(sys.argv[1]) as connection:
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_transaction_that_raises_leaves_nothing(tmp_path):
    path = tmp_path / "results.duckdb"

    def stop_halfway():
        with transaction(path) as connection:
            connection.execute("INSERT INTO looks VALUES ('h', 'e', 's', 'k', 'c', now()::TIMESTAMP, '')")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        stop_halfway()
    with transaction(path) as connection:
        assert connection.execute("SELECT count(*) FROM looks").fetchone() == (0,)


def test_a_new_file_has_the_schema_and_its_number(tmp_path):
    with transaction(tmp_path / "deep" / "folder" / "results.duckdb") as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]
        tables = {row[0] for row in connection.execute("SHOW TABLES").fetchall()}
    documented = {"experiments", "stages", "answers", "scores", "training_log", "comparisons", "decisions", "looks"}
    assert documented | {"scoreboard"} <= tables


def test_a_newer_schema_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "results.duckdb"
    with transaction(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")

    with pytest.raises(StageFailed) as caught, transaction(path):
        pass
    assert str(caught.value) == (
        f"{path} was written by a newer harness (schema 99, this one knows {SCHEMA_VERSION}); upgrade the harness or "
        "use --store with another path"
    )
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(99,)]


def test_another_process_that_holds_the_file_is_waited_for(tmp_path):
    path = tmp_path / "results.duckdb"
    with transaction(path):
        pass
    with subprocess.Popen([sys.executable, "-c", HOLDER, path, "1.0"], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert holder.poll() is None
        with transaction(path) as connection:
            assert holder.poll() == 0 or holder.wait(5) == 0
            assert connection.execute("SELECT count(*) FROM looks").fetchone() == (0,)


def test_a_file_that_is_never_let_go_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.store.database._FOREIGN_LOCK_TRIES", 2)
    path = tmp_path / "results.duckdb"
    with transaction(path):
        pass
    with subprocess.Popen([sys.executable, "-c", HOLDER, path, "60"], stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        with pytest.raises(StageFailed, match="open in another program") as caught, transaction(path):
            pass
        holder.kill()

    assert str(caught.value).startswith(f"{path} is open in another program")
    assert "close it and run again, the run resumes where it stopped" in str(caught.value)


@pytest.mark.parametrize("content", [b"this is no database at all" * 1000, b"PK\x03\x04"])
def test_a_damaged_file_is_named_with_the_way_out_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "results.duckdb"
    path.write_bytes(content)

    with pytest.raises(StageFailed) as caught, transaction(path):
        pass
    assert str(caught.value).startswith(f"{path} cannot be opened (")
    assert "if it is damaged, move it away and run again" in str(caught.value)
    assert path.read_bytes() == content


def test_the_file_is_free_between_transactions(tmp_path):
    path = tmp_path / "results.duckdb"
    with transaction(path):
        pass

    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM stages").fetchone() == (0,)


def test_a_file_of_version_1_is_brought_up_to_date_with_what_it_holds(tmp_path):
    path = tmp_path / "results.duckdb"
    schema = resources.files("harness.store").joinpath("schema.sql").read_text(encoding="utf-8")
    with duckdb.connect(str(path)) as connection:
        connection.execute(schema)
        connection.execute("INSERT INTO schema_version VALUES (1)")
        connection.execute("INSERT INTO looks VALUES ('h', 'lamps', 's', 'k', 'c', TIMESTAMP '2026-01-01 12:00:00')")
        connection.execute("INSERT INTO checks VALUES ('lamps', 0, 'sizes', 'ok', 'enough', '[]')")
        for name, text, cut in (("whole", "red", False), ("cut", "re", True), ("empty", " ", False)):
            connection.execute(
                "INSERT INTO answers VALUES ('k', ?, 0, 'which?', ?, NULL, 5, 1, 0.1, ?)", [name, text, cut]
            )
        connection.execute("INSERT INTO experiment_stages VALUES ('lamps', 'k', 'sft', 'tune', NULL, 1)")

    with transaction(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]
        told = connection.execute("SELECT sample_id, ended, reasoning FROM answers ORDER BY sample_id").fetchall()
        assert told == [("cut", "length", ""), ("empty", "empty", ""), ("whole", "stop", "")]
        assert connection.execute("SELECT system, part FROM experiment_stages").fetchall() == [("sft", "")]
        assert connection.execute("SELECT stage_key, candidate FROM looks").fetchall() == [("k", "lamps")]
        assert connection.execute("SELECT name, kind FROM checks").fetchall() == [("sizes", "protocol")]


def _sqlite(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE a (x)")


def _of_others(statement):
    def make(path):
        with duckdb.connect(str(path)) as connection:
            connection.execute(statement)

    return make


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_sqlite, "cannot be opened (it is an SQLite file); use --store with another path"),
        (lambda path: path.touch(), "cannot be opened (it is empty); use --store with another path"),
        (lambda path: path.mkdir(), "is a folder; give --store the path of a file, such as"),
        (_of_others("CREATE TABLE experiments (x INT)"), "is a DuckDB file of something else"),
        (_of_others("CREATE VIEW experiments AS SELECT 1"), "is a DuckDB file of something else"),
        (_of_others("CREATE TABLE schema_version (version TEXT)"), "is a DuckDB file of something else"),
        (_of_others("CREATE SCHEMA theirs; CREATE TABLE theirs.x (y INT)"), "is a DuckDB file of something else"),
    ],
    ids=["sqlite", "empty", "folder", "table", "view", "version", "schema"],
)
def test_what_is_no_store_is_named_and_left_as_it_is(tmp_path, make, said):
    path = tmp_path / "results.duckdb"
    make(path)
    before = path.read_bytes() if path.is_file() else b""

    with pytest.raises(StageFailed) as caught, transaction(path):
        pass
    assert str(caught.value).startswith(f"{path} {said}")
    assert (path.read_bytes() if path.is_file() else b"") == before
