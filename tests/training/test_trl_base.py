"""The private members of other libraries that training stands on are there, and no others are used."""

import ast
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name

import pytest
import transformers
from packaging.requirements import Requirement

from harness.training.trl_base import PRIVATE

ROOT = Path(__file__).parents[2] / "harness"
MEMBERS = [(path, name, parameters) for path, members in PRIVATE.items() for name, parameters in members.items()]
# Of torch, and of lm-eval's base class, which is made to be derived from.
OF_OTHERS = {
    "_encode_pair", "_is_amx_tile_supported", "_is_avx512_bf16_supported", "_is_mkldnn_bf16_supported",
    "_linear_pointwise", "_parameters", "_reorder_linear_weight", "_scaled_dot_product_flash_attention_for_cpu",
    "_version",
}  # fmt: skip


@pytest.mark.parametrize(("path", "name", "parameters"), MEMBERS, ids=lambda value: str(value))
def test_each_is_there_with_its_parameters(path: str, name: str, parameters: tuple[str, ...] | None) -> None:
    owner = resolve_name(path)
    if parameters is None:
        assert hasattr(owner() if owner is transformers.PreTrainedConfig else owner, name)
        return
    found = [each for each in inspect.signature(getattr(owner, name)).parameters if each != "self"]
    assert tuple(found[: len(parameters)]) == parameters


def foreign(tree: ast.Module) -> Iterator[str]:
    """Yield the private members that a module reads or sets of what is not its own."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    of_self = {"self", "cls"}
    own |= {
        node.attr
        for node in attributes
        if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id in of_self
    }
    for node in attributes:
        if not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        if isinstance(node.value, ast.Name) and node.value.id in of_self and node.attr in own:
            continue
        yield node.attr


def test_no_private_member_is_used_that_is_not_listed() -> None:
    listed = {name for _, name, _ in MEMBERS}
    used = {}
    for folder in ("training", "inference"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name in foreign(ast.parse(path.read_text(encoding="utf-8"))):
                used[name] = str(path.relative_to(ROOT))
    own = {"_summed_loss"}  # of the trainer that is derived from
    assert {name: where for name, where in used.items() if name not in listed | OF_OTHERS | own} == {}


@pytest.mark.parametrize("package", ["trl", "transformers", "peft"])
def test_the_versions_that_were_looked_at_are_the_ones_that_may_be_installed(package: str) -> None:
    declared = (ROOT.parent / "pyproject.toml").read_text(encoding="utf-8")
    (line,) = [line.strip(' ",') for line in declared.splitlines() if line.strip().startswith(f'"{package}>=')]
    bounds = Requirement(line).specifier
    major, minor = version(package).split(".")[:2]

    assert version(package) in bounds
    assert f"{major}.{int(minor) + 1}" not in bounds
