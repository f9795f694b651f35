"""Which Python files declare an experiment, told from their text: no file is imported to find out."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

NAME = "experiment"
_OTHERS_FILES = ("test_", "conftest", "__init__", "__main__", "setup")
_CODE_INSIDE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
# How far imports of the project's own modules are followed to one that imports the harness.
_DEEPEST = 4


@dataclass(frozen=True)
class ExperimentText:
    """The text of a Python file.

    Attributes:
        path: The file.
        source: What it holds.
    """

    path: Path
    source: bytes

    @cached_property
    def tree(self) -> ast.Module | None:
        """The syntax tree; None if it has none: Python's own words about it, when imported, are better than ours."""
        try:
            return ast.parse(self.source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    @property
    def assigns(self) -> bool:
        """True if the module may get an `experiment`: by assignment, import, loop or `with`, in whatever branch."""
        if self.tree is None:
            return NAME.encode() in self.source
        return any(_binds(node) for node in _outside(self.tree))

    @property
    def declares(self) -> bool:
        """True if it says `experiment = Experiment(...)` with the Experiment that it imports from the harness."""
        if not all(word in self.source for word in (b"harness", NAME.encode(), b"Experiment")) or self.tree is None:
            return False
        classes, packages = _imported(self.tree)
        return any(
            isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr)
            and isinstance(node.value, ast.Call)
            and _binds_here(node)
            and _is_experiment(node.value.func, classes, packages)
            for node in _outside(self.tree)
        )

    def shows_harness(self, roots: Sequence[Path]) -> bool:
        """Tell whether it, or a module of the project that it imports, mentions the harness.

        Args:
            roots: Folders that the project's modules are imported from.
        """
        return _shows_harness(self, roots, depth=0, seen=set())


def is_candidate(path: Path) -> bool:
    """Tell whether a file may be an experiment's by its name; test files stay pytest's own."""
    return path.suffix == ".py" and not path.name.startswith(_OTHERS_FILES)


def read_text(path: Path) -> ExperimentText:
    """Return the text of a file; raises OSError if it cannot be read."""
    return ExperimentText(path, path.read_bytes())


def _outside(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when the module is imported, in functions and classes their names only."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, _CODE_INSIDE):
            yield from _outside(node)


def _binds(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "*" for alias in node.names) and not _of_harness(node.module or "")
    if isinstance(node, ast.alias):
        return (node.asname or node.name.partition(".")[0]) == NAME
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        # A function may say `global experiment`.
        return node.name == NAME or any(isinstance(n, ast.Global) and NAME in n.names for n in ast.walk(node))
    if isinstance(node, ast.Subscript):  # globals()["experiment"] = ...
        return isinstance(node.ctx, ast.Store) and isinstance(node.slice, ast.Constant) and node.slice.value == NAME
    if isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler):
        return node.name == NAME
    return isinstance(node, ast.Name) and node.id == NAME and isinstance(node.ctx, ast.Store)


def _binds_here(node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Name) and target.id == NAME for target in targets)


def _imported(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Return the names that the harness's Experiment has in a module, and those of the modules that hold it."""
    classes, packages = set(), set()
    for node in _outside(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _of_harness(node.module or ""):
            for alias in node.names:
                if alias.name in ("Experiment", "*"):
                    classes.add(alias.asname or "Experiment")
                packages.add(alias.asname or alias.name)
        elif isinstance(node, ast.Import):
            packages |= {alias.asname or "harness" for alias in node.names if _of_harness(alias.name)}
    return classes, packages


def _of_harness(module: str) -> bool:
    return module.partition(".")[0] == "harness"


def _is_experiment(function: ast.expr, classes: set[str], packages: set[str]) -> bool:
    if isinstance(function, ast.Name):
        return function.id in classes
    if not isinstance(function, ast.Attribute) or function.attr != "Experiment":
        return False
    return ast.unparse(function.value).partition(".")[0] in packages


def _shows_harness(text: ExperimentText, roots: Sequence[Path], *, depth: int, seen: set[Path]) -> bool:
    if b"harness" in text.source:
        return True
    if depth == _DEEPEST or text.tree is None:
        return False
    for path in _own_modules(text, roots):
        if path in seen:
            continue
        seen.add(path)
        try:
            found = read_text(path)
        except OSError:
            continue
        if _shows_harness(found, roots, depth=depth + 1, seen=seen):
            return True
    return False


def _own_modules(text: ExperimentText, roots: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of the project's modules that a module imports."""
    assert text.tree is not None
    for node in ast.walk(text.tree):
        names: list[str] = []
        folders = [text.path.parent, *roots]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            names = [start, *(f"{start}.{alias.name}".strip(".") for alias in node.names)]
            if node.level:
                folders = [text.path.parents[min(node.level, len(text.path.parents)) - 1]]
        for name in names:
            for folder in folders:
                base = folder.joinpath(*name.split("."))
                yield from (
                    path for path in (base.with_name(f"{base.name}.py"), base / "__init__.py") if path.is_file()
                )
