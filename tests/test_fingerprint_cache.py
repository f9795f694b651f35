"""Where the cache is, for users and machines that have no place for it."""

from pathlib import Path

import pytest

from harness import fingerprint
from harness.cli.doctor import examine
from harness.errors import HarnessError


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch, tmp_path):
    """What was found to be writable is remembered by path: each test has paths of its own."""
    monkeypatch.setattr(fingerprint.tempfile, "tempdir", str(tmp_path))
    fingerprint._own.cache_clear()
    yield
    fingerprint._own.cache_clear()


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_the_folder_that_is_chosen_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "deep" / "cache"))
    assert fingerprint.cache_folder() == tmp_path / "deep" / "cache"
    assert fingerprint.cache_folder().is_dir()


@pytest.mark.parametrize("place", ["a file", "a file/below", "/proc/nowhere"])
def test_a_chosen_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, place):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / place))
    with pytest.raises(HarnessError, match=r"^HARNESS_CACHE=.* cannot be written \(.*\); set it to a folder that can$"):
        fingerprint.cache_folder()


def test_without_a_home_folder_there_is_a_makeshift_and_a_warning(tmp_path, monkeypatch):
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.warns(UserWarning, match="this user has no home folder.*; set HARNESS_CACHE to a folder that stays"):
        found = fingerprint.cache_folder()
    assert found.parent == tmp_path


def test_doctor_reports_each_thing_that_is_broken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "results.duckdb").write_text("no database")
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("harness.cli.doctor.metadata.version", lambda name: 1 / 0)
    bad = [finding.text for finding in examine() if not finding.healthy]

    for said in (
        "package torch: cannot be examined (ZeroDivisionError",
        "home folder: this user has none; set HOME",
        "cache folder ",
        "store: reports/results.duckdb cannot be opened (it is no DuckDB file)",
    ):
        assert any(text.startswith(said) for text in bad), said


def test_doctor_survives_a_folder_that_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert any("reports folder: cannot be examined (FileNotFoundError" in finding.text for finding in examine())
