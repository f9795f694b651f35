"""An experiment's rule as values: what `harness verify` needs to decide again without the experiment's file."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from harness.criteria import Guard
from harness.experiment import Experiment
from harness.plan.contents import Contents
from harness.protocols import CorpusMetric, JudgedMetric, Named, PairMetric
from harness.samples import Split

# The field that holds the number of each criterion that the harness ships with.
_NUMBERS = {
    "Gain": "at_least",
    "NoWorse": "by_at_most",
    "AtLeast": "value",
    "AtMost": "value",
    "BreakEven": "requests",
}


def declared_rule(experiment: Experiment, contents: Contents) -> dict[str, Any]:
    """Return criteria, guards and metrics as JSON values.

    A criterion is {"kind", "metrics", "number"}; kind "own" is a user's, which only its own code can judge. A metric
    is {"name", "better", "statistic", "pairs"}; statistic is None for a mean of scores, pairs is true where a score is
    of one pair of answers.
    """
    return {
        "go_if": [_criterion(item) for item in experiment.go_if],
        "stop_if": [_criterion(item) for item in experiment.stop_if],
        "guards": [_guard(item, contents) for item in experiment.guards],
        "metrics": [_metric(item) for item in experiment.metrics],
    }


def _criterion(item: Any) -> dict[str, Any]:
    kind = type(item).__name__ if type(item).__module__ == "harness.criteria" else "own"
    if kind not in _NUMBERS:
        return {"kind": "own", "metrics": list(item.metrics), "number": None, "class": _path(item)}
    return {"kind": kind, "metrics": list(item.metrics), "number": getattr(item, _NUMBERS[kind])}


def _guard(item: Guard, contents: Contents) -> dict[str, Any]:
    """Return a guard with the clusters of its samples: the store keeps only those of the experiment's own task."""
    if type(item) is not Guard:
        return _criterion(item)
    clusters = contents.clusters(item.task, Split.HOLDOUT)
    groups = {name: cluster for name, cluster in clusters.items() if cluster is not None}
    found = {"kind": "Guard", "metrics": list(item.metrics), "number": item.by_at_most, "metric": _metric(item.metric)}
    return {**found, "groups": groups}


def _metric(item: Named) -> dict[str, Any]:
    pairs = isinstance(item, PairMetric | JudgedMetric)
    return {"name": item.name, "better": item.better, "statistic": _statistic(item), "pairs": pairs}


def _statistic(item: Named) -> dict[str, Any] | None:
    """Return which class computes a metric of the whole set, with its fields where they are plain values."""
    if not isinstance(item, CorpusMetric):
        return None
    fields = _plain_fields(item)
    return {"class": _path(item), "fields": fields if type(item).__module__.startswith("harness.metrics.") else None}


def _plain_fields(item: object) -> dict[str, Any] | None:
    if not dataclasses.is_dataclass(item):
        return None
    names: Sequence[str] = [field.name for field in dataclasses.fields(item)]
    found = {name: getattr(item, name) for name in names}
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in found.values())
    return found if plain else None


def _path(item: object) -> str:
    return f"{type(item).__module__}:{type(item).__qualname__}"
