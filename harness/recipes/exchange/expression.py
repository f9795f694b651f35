"""A recipe as the Python expression that an experiment file holds, and back, without running any code."""

import ast
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass

from harness.errors import InvalidExperiment
from harness.recipes.adapters import Full, LoRA, QLoRA
from harness.recipes.looking import Choice
from harness.recipes.sft import SFT

_KNOWN: Mapping[str, type] = {kind.__name__: kind for kind in (SFT, LoRA, QLoRA, Full)}


def write_recipe(value: object) -> str:
    """Return the expression that makes `value`: its class, and the fields that are not their defaults."""
    if isinstance(value, tuple):
        items = [write_recipe(item) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if not is_dataclass(value) or isinstance(value, type | Choice):
        return repr(value)
    said = [
        f"{declared.name}={write_recipe(getattr(value, declared.name))}"
        for declared in fields(value)
        if getattr(value, declared.name) != _default(declared)
    ]
    return f"{type(value).__name__}({', '.join(said)})"


def parse_recipe(text: str) -> SFT:
    """Return the recipe that an expression such as "SFT(adapter=LoRA(rank=8))" makes; no other code is run.

    Raises InvalidExperiment where the text is no such expression, or the recipe refuses its fields.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise InvalidExperiment(f"{text!r} is no expression: {error.msg}; write SFT(adapter=LoRA(rank=8))") from error
    made = _value(tree)
    if not isinstance(made, SFT):
        raise InvalidExperiment(f"{text!r} is no SFT; only supervised recipes can be exchanged: SFT(adapter=...)")
    return made


def _default(declared: "Field[object]") -> object:
    return declared.default if declared.default_factory is MISSING else declared.default_factory()


def _value(node: ast.expr) -> object:
    if not isinstance(node, ast.Call):
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            raise InvalidExperiment(
                f"{ast.unparse(node)} is no number, text, tuple or recipe; names and computations are not read here"
            ) from error
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    kind = _KNOWN.get(name)
    if kind is None:
        raise InvalidExperiment(f"{name} is not read here; write one of {', '.join(_KNOWN)}")
    given = {word.arg: _value(word.value) for word in node.keywords if word.arg is not None}
    positional = [_value(argument) for argument in node.args]
    try:
        made: object = kind(*positional, **given)
    except TypeError as error:
        raise InvalidExperiment(f"{ast.unparse(node)}: {error}; its fields are {_names(kind)}") from error
    return made


def _names(kind: type) -> str:
    return ", ".join(declared.name for declared in fields(kind))
