"""Rows are built once, read back equal, and built again when what they are made from changes."""

from pathlib import Path

import pytest

from harness.errors import MissingPackage
from tasks.stored_rows import Row, package_folder, source_of, stored_rows


def test_rows_are_built_once_for_what_they_are_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    built: list[str] = []

    def rows(made_from: str) -> list[Row]:
        def build() -> list[Row]:
            built.append(made_from)
            return [{"text": f"{made_from} 灯\n", "slots": {"n": 5}}]

        return stored_rows("demo", made_from=[made_from], build=build)

    first, again, other = rows("a"), rows("a"), rows("b")
    assert first == again == [{"text": "a 灯\n", "slots": {"n": 5}}]
    assert other == [{"text": "b 灯\n", "slots": {"n": 5}}]
    assert built == ["a", "b"]


def test_nothing_is_left_behind_when_building_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))

    def build() -> list[Row]:
        raise ValueError("torn grammar")

    with pytest.raises(ValueError, match="torn grammar"):
        stored_rows("demo", made_from=["a"], build=build)
    assert list(tmp_path.rglob("*")) == []


def test_a_missing_package_is_named_with_its_remedy() -> None:
    with pytest.raises(MissingPackage, match=r"no_such_data_package.*requirements-data\.txt"):
        package_folder("no_such_data_package")


def test_the_source_of_a_module_is_its_text() -> None:
    assert "def stored_rows" in source_of("tasks.stored_rows")
