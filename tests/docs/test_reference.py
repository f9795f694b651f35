"""The reference says what is there: names, commands, options, variables, tables, exit codes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from benchmarks.reference import FOLDER, KINDS, command_parser, leaf_commands, pytest_options, summary, written

ROOT = Path(__file__).parents[2]
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_what_would_be_written(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == written(page), "run: python -m benchmarks.reference"


def test_each_public_name_stands_under_one_kind() -> None:
    names = [name for kind in KINDS.values() for name in kind]

    assert sorted(names) == sorted({*harness.__all__, "run", "report"})


def test_each_public_name_has_a_first_sentence() -> None:
    assert [name for kind in KINDS.values() for name in kind if not summary(name)] == []


def test_each_command_and_option_is_on_the_page() -> None:
    page = (FOLDER / "commands.md").read_text(encoding="utf-8")
    for command, _ in leaf_commands(command_parser()):
        assert f"## `{command.prog}`\n" in page
        section = page.partition(f"## `{command.prog}`\n")[2].partition("\n## ")[0]
        options = [option for action in command._actions for option in action.option_strings]
        assert [one for one in options if one not in ("-h", "--help") and f"`{one}" not in section] == []


def test_each_option_of_pytest_is_on_the_page() -> None:
    page = (FOLDER / "pytest-options.md").read_text(encoding="utf-8")
    options, settings = pytest_options()

    assert [name for one in options for name in one.names() if f"`{name}" not in page] == []
    assert [name for name in settings if f"`{name}`" not in page] == []


def test_each_variable_that_is_read_is_on_the_page() -> None:
    page = (FOLDER / "environment.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "harness").rglob("*.py")))

    assert sorted({name for name in _variables(code) if f"`{name}`" not in page}) == []
    others = code + (ROOT / "Makefile").read_text(encoding="utf-8")
    unknown = [name for name in re.findall(r"`([A-Z][A-Z0-9_]{3,})`", page) if name.lower() not in others.lower()]
    assert set(unknown) <= {"PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "OPENAI_API_KEY"}


def _variables(code: str) -> Iterator[str]:
    """Yield the variables that the code reads by name, and those that belong to the harness or its neighbours."""
    yield from re.findall(r"environ(?:\.get|\.setdefault|\.pop)?[(\[]\s*\"(\w+)\"", code)
    yield from re.findall(r"\"(\w+)\" (?:not )?in os\.environ", code)
    yield from re.findall(r"\"((?:HARNESS|HF|VLLM|SSL_CERT|CUDA|OMP|GOMP|GLOO)_[A-Z_]+)\"", code)


def test_the_page_of_exit_codes_agrees_with_what_commands_say() -> None:
    page = (FOLDER / "exit-codes.md").read_text(encoding="utf-8")
    helps = {command.prog.removeprefix("harness "): text for command, text in leaf_commands(command_parser())}
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", page.partition("## `pytest`")[0], re.MULTILINE))

    assert list(rows) == ["0", "1", "2", "3", "4", "130"]
    said = {
        (name, code)
        for name, text in helps.items()
        if "; exit " in text
        for code in re.findall(r"\b(\d)\b", text.partition("; exit ")[2])
    }
    assert {(name, code) for name, code in said if f"`harness {name}`" not in rows[code]} == set()
