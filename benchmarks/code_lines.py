"""Count lines of code, which are no docstring, comment or blank: `python -m benchmarks.code_lines [FOLDER ...]`."""

import argparse
import ast
import io
import sys
import tokenize
from pathlib import Path

_SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(text: str) -> int:
    """Return how many lines of Python hold code; a statement over three lines is three."""
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SKIPPED:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held - _docstrings(ast.parse(text)))


def _docstrings(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("harness"), Path("tasks"), Path("experiments")])
    total = 0
    for folder in parser.parse_args().folders:
        files = sorted(folder.rglob("*.py"))
        lines = sum(code_lines(path.read_text(encoding="utf-8")) for path in files)
        total += lines
        sys.stdout.write(f"{folder!s:20} {lines:>7,} lines of code in {len(files):>4} files\n")
    sys.stdout.write(f"{'all':20} {total:>7,}\n")


if __name__ == "__main__":
    main()
