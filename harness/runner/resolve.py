"""Dotted paths of declarations -> functions: the only dynamic import of the package."""

import importlib.util
import pkgutil
from collections.abc import Callable
from typing import Any

from harness.errors import InvalidExperiment, MissingPackage


def resolve(path: str) -> Callable[..., Any]:
    """Return the function that "package.module:function" names.

    Raises MissingPackage naming the module whose import failed, InvalidExperiment when there is no such function.
    """
    try:
        found = pkgutil.resolve_name(path)
    except ModuleNotFoundError as error:
        raise missing_package(path, error) from error
    except (AttributeError, ValueError) as error:
        raise InvalidExperiment(f"{path!r} names no function ({error}); write it as package.module:function") from error
    if not callable(found):
        raise InvalidExperiment(f"{path!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def missing_package(owner: str, error: ModuleNotFoundError) -> MissingPackage:
    """Return the error that names what `owner` could not import, with the command that brings it."""
    return MissingPackage(
        f"{owner} needs the package {error.name!r}; bring it with: pip install -r requirements.lock "
        f"(or, where your own code asks for it, pip install {(error.name or '').partition('.')[0]})"
    )


def check_path(path: str, *, owner: str) -> None:
    """Refuse a dotted path whose module is not there, without importing it.

    Raises InvalidExperiment naming `owner`.
    """
    module, _, function = path.partition(":")
    try:
        present = bool(function) and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        present = False
    if not present:
        raise InvalidExperiment(f"{owner} names {path!r}, which is not there; write it as package.module:function")
