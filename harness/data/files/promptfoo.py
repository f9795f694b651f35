"""Rows of a promptfoo configuration: the variables of each test, and the answer that its assertions expect."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.data.files.encodings import Decoded
from harness.data.files.row import DataFile, Note, Row, listed, with_whole_characters
from harness.errors import InvalidData

# Assertions whose value is an answer, the most exact first.
_EXACT = ("equals", "iequals", "contains", "icontains")
_VARIABLE = re.compile(r"\{\{-?\s*(\w+)\s*-?\}\}")
_COLUMN = "__expected"


def read_yaml(path: Path, decoded: Decoded, *, read: Callable[[Path], DataFile]) -> DataFile:
    """Return the rows of a YAML file: a list of rows, or a promptfoo configuration.

    Args:
        path: The file.
        decoded: Its text.
        read: Reads the file of tests that a configuration names.

    Raises:
        InvalidData: If it is no YAML, or a configuration holds what is not read; the message names it.
    """
    # Imported here: only these files need it.
    import yaml

    try:
        value: object = yaml.safe_load(decoded.text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise InvalidData(f"{path}{place}: not YAML: {problem}; correct the line") from None
    except (ValueError, RecursionError, TypeError) as error:
        raise InvalidData(f"{path}: not readable YAML: {error}; correct it or use .jsonl") from None
    if value is None:
        return DataFile(())
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        rows = tuple(Row(str(path), number, _named(row)) for number, row in enumerate(value, start=1))
        return with_whole_characters(DataFile(rows), path)
    if not isinstance(value, dict) or "tests" not in value:
        keys = f" with the keys {listed(value)}" if isinstance(value, dict) else ""
        raise InvalidData(f"{path}: neither a list of rows nor a promptfoo configuration with tests{keys}; use .jsonl")
    return with_whole_characters(_Configuration(path, value).rows(read), path)


def _named(row: Mapping[object, object]) -> dict[str, object]:
    return {str(key): value for key, value in row.items()}


class _Configuration:
    """A promptfoo configuration. What is left out is collected by name."""

    def __init__(self, path: Path, value: Mapping[str, object]) -> None:
        self._path, self._value = path, value
        self._left_out: dict[str, int] = {}

    def rows(self, read: Callable[[Path], DataFile]) -> DataFile:
        if self._value.get("scenarios"):
            raise self._wrong("'scenarios' are not read", "write each case as a test of its own")
        template = self._template()
        tests = self._tests(read)
        defaults = self._mapping(self._value.get("defaultTest") or {}, "defaultTest")
        rows = [
            Row(str(self._path), number, self._row(number, test, defaults, template))
            for number, test in enumerate(tests, start=1)
        ]
        notes = [Note(str(self._path), "read_as", "is a promptfoo configuration; each test is a row", len(rows))]
        for what, count in self._left_out.items():
            notes.append(Note(str(self._path), "left_out", f"{what} was left out", count))
        return DataFile(tuple(rows), tuple(notes))

    def _template(self) -> str | None:
        """Return the one prompt, None if there are several: which one is asked is for the experiment to say."""
        prompts = self._value.get("prompts") or []
        prompts = prompts if isinstance(prompts, list) else [prompts]
        prompts = [prompt.get("raw", prompt.get("id")) if isinstance(prompt, dict) else prompt for prompt in prompts]
        if len(prompts) != 1:
            if prompts:
                self._left_out[f"the text of {len(prompts)} prompts (give the one that is meant alone)"] = 0
            return None
        (template,) = prompts
        if not isinstance(template, str):
            raise self._wrong("'prompts' holds no text", "write the prompt as text")
        if template.startswith("file://"):
            template = self._prompt_file(template.removeprefix("file://"))
        if "{%" in template or "{#" in template or "{{" in _VARIABLE.sub("", template):
            raise self._wrong(f"the prompt {template[:40]!r} has more than plain {{{{variables}}}}", "write it out")
        if template.lstrip().startswith("["):
            raise self._wrong("the prompt is a conversation in JSON, which is not read", "give messages in a .jsonl")
        return template

    def _prompt_file(self, name: str) -> str:
        file = self._path.parent / name
        if file.suffix.lower() not in (".txt", ".md"):
            raise self._wrong(f"the prompt file {name!r} is not read", "write the prompt as text, or in a .txt file")
        try:
            return file.read_text(encoding="utf-8-sig").strip()
        except (OSError, ValueError) as error:
            raise self._wrong(f"the prompt file {name!r} cannot be read: {type(error).__name__}", "give it") from None

    def _tests(self, read: Callable[[Path], DataFile]) -> list[Mapping[str, object]]:
        tests = self._value["tests"]
        found: list[Mapping[str, object]] = []
        for test in tests if isinstance(tests, list) else [tests]:
            if isinstance(test, str):
                found += self._tests_of_file(test.removeprefix("file://"), read)
            else:
                found.append(self._mapping(test, "tests"))
        return found

    def _tests_of_file(self, name: str, read: Callable[[Path], DataFile]) -> list[Mapping[str, object]]:
        file = self._path.parent / name
        if file.suffix.lower() not in (".csv", ".json", ".jsonl", ".yaml", ".yml") or file == self._path:
            raise self._wrong(f"the tests in {name!r} are not read", "give them as a list, or in a .csv file")
        rows = [row.values for row in read(file).rows]
        if file.suffix.lower() != ".csv":
            return rows
        return [
            {
                "vars": {key: value for key, value in row.items() if not key.startswith("__")},
                "assert": [_assertion(str(row[_COLUMN]))] if row.get(_COLUMN) else [],
            }
            for row in rows
        ]

    def _row(
        self, number: int, test: Mapping[str, object], defaults: Mapping[str, object], template: str | None
    ) -> dict[str, object]:
        variables = {
            **self._mapping(defaults.get("vars") or {}, "defaultTest.vars"),
            **self._mapping(test.get("vars") or {}, f"test {number}: vars"),
        }
        for name, value in variables.items():
            if isinstance(value, str) and value.startswith("file://"):
                raise self._wrong(f"test {number}: the variable {name!r} is a file, which is not read", "write it out")
            if isinstance(value, list):
                raise self._wrong(f"test {number}: the variable {name!r} has several values", "write a test for each")
        values = dict(variables)
        if template is not None:
            values.setdefault("prompt", self._filled(template, variables, number))
        expected = self._expected(number, [*self._asserted(test), *self._asserted(defaults)])
        values.setdefault("completion", self._filled(expected, variables, number))
        return values

    def _asserted(self, test: Mapping[str, object]) -> Sequence[object]:
        asserted = test.get("assert") or []
        return asserted if isinstance(asserted, list) else [asserted]

    def _expected(self, number: int, assertions: Sequence[object]) -> str:
        """Return the answer that the most exact assertion of a test names; the others are left out and counted."""
        found: dict[str, object] = {}
        for assertion in assertions:
            one = self._mapping(assertion, f"test {number}: assert")
            found.setdefault(str(one.get("type")), one.get("value"))
        kind = next((kind for kind in _EXACT if _is_answer(found.get(kind))), None)
        if kind is None:
            has = f"only {listed(found)}" if found else "no assertion"
            raise self._wrong(
                f"test {number}: has {has}, and no answer that is expected",
                f"give it an assertion of the type {' or '.join(_EXACT)}, or take the test out",
            )
        for other in found:
            if other != kind:
                what = f"the assertion {other!r}"
                self._left_out[what] = self._left_out.get(what, 0) + 1
        return str(found[kind])

    def _filled(self, template: str, variables: Mapping[str, object], number: int) -> str:
        def value(found: re.Match[str]) -> str:
            if found[1] not in variables:
                raise self._wrong(f"test {number}: has no variable {found[1]!r}, which the prompt names", "give it")
            return str(variables[found[1]])

        return _VARIABLE.sub(value, template)

    def _mapping(self, value: object, place: str) -> Mapping[str, object]:
        if not isinstance(value, dict):
            raise self._wrong(f"{place} holds no names with values", "write it as in promptfoo's own examples")
        return _named(value)

    def _wrong(self, fact: str, remedy: str) -> InvalidData:
        return InvalidData(f"{self._path}: {fact}; {remedy}")


def _is_answer(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip() != ""


def _assertion(text: str) -> dict[str, object]:
    """Return the assertion that a cell of a CSV of tests writes: "contains: Paris", or the expected answer alone."""
    kind, colon, value = text.partition(":")
    if colon and re.fullmatch(r"[a-z-]+", kind.strip()):
        return {"type": kind.strip(), "value": value.strip()}
    return {"type": "equals", "value": text}
