"""A recipe written as text, as in an experiment file, read without running any code."""

import ast
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from inspect import isfunction, signature
from typing import Any

from harness import metrics, prompting, recipes
from harness.errors import InvalidExperiment
from harness.recipes.base import Trained
from harness.recipes.steps import Steps
from harness.types import models

# What may be written for short: recipes of one adapter, and adapters' names.
_SHORT = {
    "full": "Full()",
    "lora": "LoRA()",
    "dora": "DoRA()",
    "qlora": "QLoRA()",
    "adalora": "AdaLoRA()",
    "ia3": "IA3()",
    "prompt": "PromptTuning()",
    "p-tuning": "PTuning()",
    "p-tuning-v2": "PTuningV2()",
    "prefix": "PrefixTuning()",
    "bottleneck": "Bottleneck()",
    "mam": "MAM()",
    "unipelt": "UniPELT()",
    "bitfit": "BitFit()",
}
SHORT_NAMES = tuple(_SHORT)
_MODELS = ("Model", "Endpoint")


def read_recipe(text: str) -> Trained | Steps:
    """Return the recipe that `text` declares, such as "SFT(adapter=LoRA(rank=16))", or a short name such as "lora".

    Names of the harness's recipes and adapters, of metrics as rewards, of strategies and models, numbers, texts,
    tuples, lists and dicts are read; nothing is run.

    Raises:
        InvalidExperiment: If anything else stands there, or the recipe refuses its fields.
    """
    short = _SHORT.get(text.strip().lower())
    tree = _parsed(f"SFT(adapter={short})" if short else text)
    if not isinstance(tree, ast.Call):
        raise InvalidExperiment(_no_recipe(text))
    made = _value(tree)
    if not isinstance(made, Trained | Steps):
        raise InvalidExperiment(_no_recipe(text))
    return made


def _no_recipe(text: str) -> str:
    """Return what may be written in place of `text`, what is meant first if that can be told."""
    kinds = [name for name in recipes.__all__ if isinstance(one := getattr(recipes, name), type) and _makes_recipe(one)]
    near = get_close_matches(text.strip().lower(), [*SHORT_NAMES, *map(str.lower, kinds)], n=1)
    meant = next((f"{name}(...)" for name in kinds if near == [name.lower()]), near[0] if near else "")
    first = f"{text!r} is no recipe{f', {meant} is' if meant else ''}"
    return (
        f'{first}; give one of {", ".join(SHORT_NAMES)}, or one written out, such as "SFT(adapter=LoRA(rank=16))": '
        f"{', '.join(kinds)}"
    )


def _makes_recipe(kind: type) -> bool:
    return issubclass(kind, Trained | Steps) and _is_noun(kind)


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InvalidExperiment(f"{text!r} is no declaration that Python reads: {error}; {_no_recipe(text)}") from error


def _value(node: ast.expr) -> object:
    if isinstance(node, ast.Call):
        return _made(node)
    if isinstance(node, ast.Tuple | ast.List):
        items = [_value(item) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    if isinstance(node, ast.Dict) and all(node.keys):
        return {_value(key): _value(item) for key, item in zip(node.keys, node.values, strict=True) if key is not None}
    if isinstance(node, ast.Name):
        raise InvalidExperiment(_bare_name(node.id))
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise InvalidExperiment(
            f"{ast.unparse(node)!r} is computed; only recipes, adapters, metrics, numbers and texts are read"
        ) from error


def _made(node: ast.Call) -> object:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    nouns = _nouns()
    if name not in nouns:
        raise InvalidExperiment(f"{name!r} is no recipe, adapter or metric; give one of {', '.join(sorted(nouns))}")
    kind = nouns[name]
    if any(word.arg is None for word in node.keywords):
        raise InvalidExperiment(f"{ast.unparse(node)!r}: write the fields out, ** is not read")
    given = {str(word.arg): _value(word.value) for word in node.keywords}
    try:
        return kind(*(_value(argument) for argument in node.args), **given)
    except TypeError as error:
        known = [declared.name for declared in fields(kind)] if is_dataclass(kind) else [*signature(kind).parameters]
        raise InvalidExperiment(f"{ast.unparse(node)}: {error}; its fields are {', '.join(known)}") from error


def _bare_name(name: str) -> str:
    if name in _nouns():
        return f"{name} is a class; write {name}()"
    return (
        f"{name!r} is a name of an experiment file, which is not read here; where a reward of your own stands, any "
        "metric does, such as reward=ExactMatch()"
    )


def _nouns() -> dict[str, Callable[..., object]]:
    """Return what may be called: the declarations, but not the kinds that they have in common."""
    found: dict[str, Any] = {name: getattr(models, name) for name in _MODELS}
    for package in (metrics, prompting, recipes):
        found |= {name: getattr(package, name) for name in package.__all__}
    return {name: one for name, one in found.items() if _is_noun(one)}


def _is_noun(one: Any) -> bool:
    return one not in (recipes.Trained, recipes.Reinforced) and (is_dataclass(one) or isfunction(one))
