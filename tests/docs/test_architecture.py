"""The map of docs/architecture.md is that of the code: its walks call one another so, and its paths are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WALKS = {
    title: re.findall(r"^\| \d+ \| `([^`]+)` \| `(\w+)` \| `?([^`|]+?)`? \|$", body, re.MULTILINE)
    for title, body in re.findall(r"^### (From [^\n]+)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
}


def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def defined(path: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree(path)) if isinstance(node, kinds)}


def used(path: str) -> set[str]:
    """Names that the code of a file uses, also as attributes and at the end of a dotted path."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            found.add(node.value.rpartition(":")[2])
    return found


@pytest.mark.parametrize(
    ("title", "most"),
    [("From pytest to a verdict", 12), ("From a prompt to its score", 10), ("From a recipe to its adapter", 12)],
)
def test_a_walk_enters_few_files_which_call_one_another_so(title: str, most: int) -> None:
    walk = WALKS[title]
    files = [file for file, _, _ in walk]

    assert 5 < len(files) == len(set(files)) <= most
    for file, name, caller in walk:
        assert name in defined(file), f"{file} defines no {name}"
        if caller.endswith(".py"):
            assert name in used(caller), f"{caller} does not call {name}"


@pytest.mark.parametrize("page", ["architecture.md", "glossary.md"])
def test_each_path_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`(harness/[\w/]+(?:\.py)?/?)`", text))
    listed = set(re.findall(r"^\| `([^|]+)` \|", text, re.MULTILINE)) if page == "architecture.md" else set()
    places = named | {f"harness/{path}" for cell in listed for path in re.findall(r"[\w]+(?:/|\.py)", cell)}

    assert len(places) > 15
    assert sorted(path for path in places if not (ROOT / path).exists()) == []


def test_each_package_has_a_line_on_the_map() -> None:
    packages = {path.parent.name for path in (ROOT / "harness").glob("*/__init__.py")}

    assert sorted(name for name in packages if f"`{name}/`" not in PAGE) == []
