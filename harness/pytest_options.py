"""The options of the pytest plugin: one group, each under a long name, and under a short one if nobody else has it."""

from collections.abc import Iterable
from typing import Any

import pytest

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "verdict",
        {
            "choices": ("gate", "report"),
            "default": "gate",
            "help": "gate: NO_GO and INCONCLUSIVE fail (default); report: they are shown as expected failures",
        },
    ),
    ("until", {"choices": ("baseline", "tuning"), "help": "stop after the baselines, or after tuning"}),
    (
        "fresh",
        {"action": "store_true", "help": "forget what is stored of the chosen experiments, measure anew"},
    ),
    (
        "ignore-memory",
        {"action": "store_true", "help": "train also what by its estimate does not fit the free memory"},
    ),
    ("store", {"default": "reports/results.duckdb", "metavar": "PATH", "help": "where results are kept"}),
    (
        "executor",
        {
            "choices": ("local", "ray"),
            "default": "local",
            "help": "where stages run; ray is not available yet",
        },
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Declare the long names."""
    group = parser.getgroup("harness", "experiments that end in a verdict")
    for name, attributes in _OPTIONS:
        group.addoption(f"--harness-{name}", dest=_dest(name), **attributes)


def add_short_names(parser: pytest.Parser) -> None:
    """Declare the short names that no other plugin and no conftest file has taken."""
    taken = {name for group in parser._groups for option in group.options for name in option.names()}
    group = parser.getgroup("harness")
    for name, attributes in _OPTIONS:
        if f"--{name}" not in taken:
            group.addoption(f"--{name}", dest=_dest(name), **attributes | {"help": f"the same as --harness-{name}"})


def has_short_name(arguments: Iterable[str]) -> bool:
    """Tell whether a short name is among these arguments."""
    return any(_is_short(argument) for argument in arguments)


def spelled_out(argument: str) -> str:
    """Return the argument with the long name in place of a short one."""
    return f"--harness-{argument.removeprefix('--')}" if _is_short(argument) else argument


def option(config: pytest.Config, name: str) -> Any:
    """Return the value of an option, by its short name without dashes."""
    return config.getoption(_dest(name))


def _is_short(argument: str) -> bool:
    return any(argument.partition("=")[0] == f"--{name}" for name, _ in _OPTIONS)


def _dest(name: str) -> str:
    return f"harness_{name.replace('-', '_')}"
