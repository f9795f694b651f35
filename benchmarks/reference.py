"""Write what docs/reference/ says of names, commands, options and tables: python -m benchmarks.reference.

Each generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; the words around it are written by
hand. `--check` writes nothing and exits with 1 if a page is not what would be written.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# What `from harness import ...` gives, by what a reader looks for.
KINDS: dict[str, tuple[str, ...]] = {
    "The experiment": ("Experiment", "run", "report"),
    "Criteria": ("Gain", "NoWorse", "AtLeast", "AtMost", "BreakEven", "Guard"),
    "Tasks and samples": (
        *("DatasetTask", "TextTask", "LmEvalTask", "Task", "Sample", "Split", "Message", "Passage"),
        *("Answer", "Score", "Sampling"),
    ),
    "Models": ("Model", "Endpoint", "Costs"),
    "Strategies": ("ZeroShot", "FewShot", "RAG"),
    "Metrics": (
        *("Accuracy", "ExactMatch", "MacroF1", "Numeric", "JsonFields", "Regex", "Chrf", "Rouge", "BERTScore"),
        *("Perplexity", "Preference", "SafetyRules", "HFMetric", "TokensIn", "TokensOut", "Latency", "Cost"),
    ),
    "Recipes": ("SFT", "DPO", "ORPO", "KTO", "RewardModel", "PPO", "RLOO", "GRPO", "Steps", "EWC"),
    "Rewards": ("Grader", "JudgeGrade", "Weighted"),
    "Adapters": (
        *("Full", "LoRA", "DoRA", "QLoRA", "AdaLoRA", "IA3", "BitFit", "PrefixTuning", "PTuningV2"),
        *("PromptTuning", "PTuning", "Bottleneck", "MAM", "UniPELT", "PEFT", "Adapter", "AdapterSupport"),
    ),
    "Verdicts and errors": (
        *("NoGo", "Inconclusive", "HarnessError", "InvalidExperiment", "InvalidData", "InvalidEvidence"),
        *("Incomparable", "MissingPackage", "NotFingerprintable", "StageFailed"),
    ),
}


def main() -> int:
    """Write the pages, or with --check compare them; returns the exit code."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    check = options.parse_args().check
    stale = [path for path in sorted(FOLDER.glob("*.md")) if path.read_text(encoding="utf-8") != written(path)]
    for path in stale:
        sys.stdout.write(f"{'out of date' if check else 'wrote'}: {path}\n")
        if not check:
            path.write_text(written(path), encoding="utf-8")
    return 1 if check and stale else 0


def written(path: Path) -> str:
    """Return a page with its generated parts as they should be."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}\n" + "\n".join(_PARTS[found[2]]()) + f"\n\n{found[3]}"

    return _BLOCK.sub(part, path.read_text(encoding="utf-8"))


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command `harness`, as its entry point makes it."""

    class Made(Exception):
        """Carries the parser out of `main`."""

    def give(parser: argparse.ArgumentParser, *_: object) -> argparse.Namespace:
        raise Made(parser)

    with patch.object(argparse.ArgumentParser, "parse_args", give):
        try:
            import_module("harness.cli.__main__").main([])
        except Made as made:
            parser: argparse.ArgumentParser = made.args[0]
            return parser
    raise AssertionError("harness.cli.main parses no arguments")


def leaf_commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Yield each command that can be called, with its line of help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                inner = list(leaf_commands(command))
                yield from inner or [(command, helps[name])]


def pytest_options() -> tuple[list[Any], dict[str, tuple[str, Any]]]:
    """Return the options of the pytest plugin, and its settings of the ini file with their help and default."""
    parser = pytest.Parser(_ispytest=True)
    plugin = import_module("harness.pytest_plugin")
    plugin.pytest_addoption(parser)
    settings = {name: (text, default) for name, (text, _, default) in _ini(parser).items()}
    return [option for group in parser._groups for option in group.options], settings


def _ini(parser: pytest.Parser) -> dict[str, tuple[str, Any, Any]]:
    return dict(parser._inidict)


def _python() -> Iterator[str]:
    for kind, names in KINDS.items():
        yield f"## {kind}\n"
        yield "| name | what it is |\n|---|---|"
        for name in names:
            yield f"| `{name}` | {_cell(summary(name))} |"
        yield ""
        yield from (f"::: harness.{name}\n" for name in _documented(names))


def _documented(names: Iterable[str]) -> Iterator[str]:
    # `harness.report` is a package too; its function stands in the module that defines it.
    for name in names:
        yield f"{public(name).__module__.removeprefix('harness.')}.{name}" if name in ("run", "report") else name


def public(name: str) -> Any:
    """Return a public name, `report` as the function that the package calls."""
    found = getattr(import_module("harness"), name)
    return getattr(import_module(import_module("harness").run.__module__), name) if name == "report" else found


def summary(name: str) -> str:
    """Return the first sentence of a public name's docstring."""
    text = " ".join((inspect.getdoc(public(name)) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]


def _commands() -> Iterator[str]:
    for command, line in leaf_commands(command_parser()):
        yield f"## `{command.prog}`\n"
        yield f"{_sentence(line)}\n"
        yield f"```sh\n{_example(command)}\n```\n"
        rows = [_row(action) for action in command._actions if not isinstance(action, argparse._HelpAction)]
        if rows:
            yield "\n".join(["| argument | meaning |", "|---|---|", *rows, ""])


def _row(action: argparse.Action) -> str:
    shown = ", ".join(action.option_strings) or _metavar(action)
    if action.option_strings and action.nargs != 0:
        shown += f" {_metavar(action)}"
    default = action.default
    given = action.option_strings and default not in (None, "", False, argparse.SUPPRESS)
    said = f"(default: `{default}`)" if given and f"({default})" not in (action.help or "") else ""
    needed = "needed" if action.option_strings and action.required else ""
    optional = "may be left out" if not action.option_strings and action.nargs == "?" else ""
    words = "; ".join(word for word in (action.help or "", needed, optional) if word)
    return f"| `{shown}` | {_cell(' '.join(word for word in (words, said) if word))} |"


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    return ", ".join(map(str, action.choices)) if action.choices else action.dest.upper()


def _example(command: argparse.ArgumentParser) -> str:
    return (command.epilog or command.prog).removeprefix("example: ")


def _options() -> Iterator[str]:
    yield "| option | meaning |\n|---|---|"
    for option in pytest_options()[0]:
        attributes = option.attrs()
        (name,) = option.names()
        values = " or ".join(attributes.get("choices") or ()) or attributes.get("metavar") or ""
        default = attributes.get("default")
        said = f" (default: `{default}`)" if default and "default" not in attributes["help"] else ""
        yield f"| `{f'{name} {values}'.strip()}` | {_cell(attributes['help'] + said)} |"


def _settings() -> Iterator[str]:
    yield "| setting | meaning | without it |\n|---|---|---|"
    for name, (text, default) in pytest_options()[1].items():
        yield f"| `{name}` | {_cell(text)} | `{' '.join(default)}` |"


def _tables() -> Iterator[str]:
    from harness.store.store import Store

    said = dict(_remarks())
    with TemporaryDirectory() as folder:
        store = Store(Path(folder) / "results.duckdb")
        query = (
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "ORDER BY table_name, ordinal_position"
        )
        columns = store.query(query)[1]
    for table in dict.fromkeys(str(row[0]) for row in columns):
        yield f"## `{table}`\n"
        if said.get(table):
            yield f"{_sentence(said[table])}\n"
        yield "| column | type | meaning |\n|---|---|---|"
        for _, column, kind in (row for row in columns if row[0] == table):
            # A view shows columns of a table, and SQL has no place for a remark in it.
            remark = said.get(f"{'system_means' if table == 'scoreboard' else table}.{column}", "")
            yield f"| `{column}` | {kind} | {_cell(remark)} |"
        yield ""


def _remarks() -> Iterator[tuple[str, str]]:
    """Yield what the schema's comments say of a table, or of "table.column"; a later migration says it anew."""
    folder = Path(str(import_module("harness.store").__file__)).parent
    for path in (folder / "schema.sql", *sorted((folder / "migrations").glob("*.sql"))):
        yield from _remarks_of(path.read_text(encoding="utf-8"))


def _remarks_of(schema: str) -> Iterator[tuple[str, str]]:
    table, above = "", ""
    for line in schema.splitlines():
        if line.startswith("-- "):
            above = f"{above} {line[3:]}".strip()
        elif not line.strip():
            above = ""
        elif made := re.match(r"CREATE (?:TABLE|VIEW) (\w+)", line):
            table = made[1]
            yield table, above
        elif added := re.match(r"ALTER TABLE (\w+) ADD COLUMN \"?(\w+)", line):
            yield f"{added[1]}.{added[2]}", _said_of(added[2], above) or above
        elif column := re.match(r"    \"?([a-z_]+)\"? [A-Z]", line):
            yield f"{table}.{column[1]}", line.partition("-- ")[2] or _said_of(column[1], above)


def _said_of(column: str, comment: str) -> str:
    """Return what a comment on a whole table says of one column, as `column: what it is`."""
    said = re.search(rf"(?:^|\. |; ){column}: (.*?)(?=\.?$|[.;] \w+: )", comment)
    return said[1] if said else ""


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", ":")) else f"{text}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


_PARTS: dict[str, Callable[[], Iterable[str]]] = {
    "python": _python,
    "commands": _commands,
    "options": _options,
    "settings": _settings,
    "tables": _tables,
}


if __name__ == "__main__":
    sys.exit(main())
