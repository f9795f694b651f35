"""Decide whether to fine-tune a language model: baselines first, a locked holdout, a verdict with its evidence.

Importing this package loads nothing else, since pytest does so in every project of an environment: the names of
`harness.interface` are looked up when they are first used. None of them loads torch, transformers or duckdb, before
`harness.run` or `harness.report` is called.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import report as report
    from harness.api import run as run
    from harness.interface import *  # noqa: F403 - each name is listed there


def __getattr__(name: str) -> object:
    """Return a public name, or a module of the package that the public names have loaded.

    Raises:
        AttributeError: If there is neither.
    """
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    if name == "run":
        return globals().setdefault(name, import_module("harness.api").run)
    if name == "report":
        return import_module("harness.report")  # which can be called
    interface = import_module("harness.interface")
    if name == "__all__" or name in interface.__all__:
        return globals().setdefault(name, getattr(interface, name))
    if name in globals():
        return globals()[name]
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "report", "run", *import_module("harness.interface").__all__})
