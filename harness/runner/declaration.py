"""An experiment's declaration as the JSON that the store keeps and the report shows."""

import dataclasses
import re
import shlex
from enum import Enum
from importlib import metadata
from typing import Any

from harness.models import Endpoint
from harness.plan import TRAINING_STACK, Plan
from harness.protocols import Task
from harness.redacting import redacted, secrets_in
from harness.runner.rule import declared_rule
from harness.samples import Split

_SHOWN_PACKAGES = (*TRAINING_STACK, "datasets", "evaluate", "bert-score", "lm-eval", "duckdb", "numpy", "scipy")
_ADDRESS = re.compile(r"https?://[^\s\"'\\<>]+")


def declared(plan: Plan, *, file: str, source: str) -> dict[str, Any]:
    """Return what was declared, where, and with which versions.

    Nothing of it is a secret: a key stays in its environment variable, and only the variable's name is declared.
    """
    experiment = plan.experiment
    return {
        "file": file,
        "source": _without_secrets(source),
        "command": f"pytest {shlex.quote(file)}" if file else f"harness.run(experiment, name={plan.name!r})",
        "task": experiment.task.name,
        "model": plan.model.name,
        "baselines": [plain(item) for item in experiment.baselines],
        "recipes": [plain(item) for item in experiment.recipes],
        "metrics": [metric.name for metric in experiment.metrics],
        "go_if": [describe(item) for item in experiment.go_if],
        "stop_if": [describe(item) for item in experiment.stop_if],
        "guards": [describe(item) for item in experiment.guards],
        "rule": declared_rule(experiment, plan.contents),
        "seeds": list(experiment.seeds),
        "splits": {split.value: len(experiment.task.samples(split)) for split in Split},
        "versions": {package: _version(package) for package in _SHOWN_PACKAGES},
    }


def describe(item: object) -> str:
    """Return a criterion as its author wrote it, or in its own words where it has some."""
    return str(getattr(item, "criterion", None) or repr(item))


def plain(item: object) -> Any:
    """Return a declaration as JSON values; what has no JSON form is shown by its repr."""
    if item is None or isinstance(item, bool | int | float | str):
        return item
    if isinstance(item, Task):
        return item.name  # its rows are in the store, and its code in the source
    if isinstance(item, Enum):
        return item.value
    if isinstance(item, tuple | list):
        return [plain(part) for part in item]
    if isinstance(item, dict):
        return {str(name): plain(value) for name, value in item.items()}
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        content = {part.name: plain(getattr(item, part.name)) for part in dataclasses.fields(item)}
        if isinstance(item, Endpoint):
            content["url"] = item.shown
        return {"kind": type(item).__name__, "name": str(getattr(item, "name", type(item).__name__)), **content}
    return repr(item)


def _without_secrets(source: str) -> str:
    """Return the text of a file without passwords and keys in the addresses that it writes."""
    return redacted(source, (secret for found in _ADDRESS.finditer(source) for secret in secrets_in(found[0])))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
