"""A recipe written as text, as in an experiment file, read without running any code."""

import ast
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from inspect import isfunction, signature
from typing import Any

from harness import recipes
from harness.errors import InvalidExperiment
from harness.recipes.adapters import Adapter
from harness.recipes.steps import Steps
from harness.recipes.trained import Trained

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


def read_recipe(text: str) -> Trained | Steps:
    """Return the recipe that `text` declares, such as "SFT(adapter=LoRA(rank=16))", or a short name such as "lora".

    Names of the harness's recipes and adapters, numbers, texts, tuples, lists and dicts are read; nothing is run.

    Raises InvalidExperiment where anything else stands there, or the recipe refuses its fields.
    """
    short = _SHORT.get(text.strip().lower())
    made = _read(f"SFT(adapter={short})" if short else text)
    if not isinstance(made, Trained | Steps):
        raise InvalidExperiment(
            f'{text!r} is no recipe; give one such as "SFT(adapter=LoRA(rank=16))", or one of {", ".join(_SHORT)}'
        )
    return made


def read_adapter(text: str) -> Adapter:
    """Return the adapter that `text` declares, such as "LoRA(rank=16)" or "lora"."""
    made = _read(_SHORT.get(text.strip().lower(), text))
    if not all(hasattr(made, name) for name in ("rates", "merges", "learning_rate")):
        raise InvalidExperiment(f'{text!r} is no adapter; give one such as "LoRA(rank=16)"')
    return made  # type: ignore[return-value]


def _read(text: str) -> object:
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InvalidExperiment(f"{text!r} is no declaration that Python reads: {error}") from error
    return _value(tree.body)


def _value(node: ast.expr) -> object:
    if isinstance(node, ast.Call):
        return _made(node)
    if isinstance(node, ast.Tuple | ast.List):
        items = [_value(item) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise InvalidExperiment(
            f"{ast.unparse(node)!r} is computed; only names of recipes and adapters, numbers and texts are read"
        ) from error


def _made(node: ast.Call) -> object:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    nouns = _nouns()
    if name not in nouns:
        raise InvalidExperiment(f"{name!r} is no recipe or adapter; give one of {', '.join(sorted(nouns))}")
    kind = nouns[name]
    if any(word.arg is None for word in node.keywords):
        raise InvalidExperiment(f"{ast.unparse(node)!r}: write the fields out, ** is not read")
    given = {str(word.arg): _value(word.value) for word in node.keywords}
    try:
        return kind(*(_value(argument) for argument in node.args), **given)
    except TypeError as error:
        known = [declared.name for declared in fields(kind)] if is_dataclass(kind) else [*signature(kind).parameters]
        raise InvalidExperiment(f"{ast.unparse(node)}: {error}; its fields are {', '.join(known)}") from error


def _nouns() -> dict[str, Callable[..., object]]:
    """Return what may be called: the declarations, but not the kinds that they have in common."""
    found: dict[str, Any] = {name: getattr(recipes, name) for name in recipes.__all__}
    return {name: one for name, one in found.items() if _is_noun(one)}


def _is_noun(one: Any) -> bool:
    return one not in (recipes.Trained, recipes.Reinforced) and (is_dataclass(one) or isfunction(one))
