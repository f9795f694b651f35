"""The examples in the docstrings of public names are true: each runs after `from harness import *`."""

import doctest
import inspect
import runpy
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import harness
from benchmarks.reference import public
from harness import GRPO, SFT, interface

NAMES = sorted(interface.__all__)


def examples_of(name: str) -> doctest.DocTest:
    """Return what stands under `Examples:` in the docstring of a public name, as a test."""
    text = inspect.getdoc(public(name)) or ""
    names: dict[str, Any] = {one: getattr(harness, one) for one in NAMES}
    return doctest.DocTestParser().get_doctest(
        text.partition("\nExamples:\n")[2], {"harness": harness, **names}, name, None, None
    )


def run(names: Sequence[str], **given: object) -> str:
    """Run the examples of these names in one namespace; return what is wrong with them, "" if nothing is."""
    said: list[str] = []
    for name in names:
        test = examples_of(name)
        test.globs.update(given)
        doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("name", [name for name in NAMES if examples_of(name).examples])
def test_an_example_gives_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert run([name]) == ""


def test_the_examples_of_a_run_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_experiment: Callable[..., Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = runpy.run_path(str(write_experiment(tmp_path / "tickets.py")))["experiment"]

    assert run(["run", "report"], experiment=experiment) == ""


@pytest.mark.parametrize("name", [name for name in NAMES if is_dataclass(public(name))])
def test_each_field_of_a_public_name_has_its_line(name: str) -> None:
    declared = public(name)
    texts = [declared, *((SFT, GRPO) if hasattr(declared, "trainer") else ())]  # recipes refer to what these two say
    said = [line for text in texts for line in (inspect.getdoc(text) or "").splitlines()]
    shown = [one.name for one in fields(declared) if one.init and not one.name.startswith("_")]

    assert [one for one in shown if not any(line.startswith(f"    {one}: ") for line in said)] == []
