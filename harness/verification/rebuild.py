"""Metrics, criteria and scores made anew from stored values, without the experiment's file and without its code."""

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analysis.break_even import Payback, Quality
from harness.analysis.estimate import Estimate
from harness.errors import HarnessError, InvalidData
from harness.experiment import criteria
from harness.experiment.criteria import AtLeast, AtMost, Criterion, Finding, Gain, NoWorse
from harness.stats.compare import Comparison, SystemScores
from harness.types.protocols import CorpusMetric, Direction, Named

_KINDS: dict[str, Any] = {"Gain": Gain, "NoWorse": NoWorse, "AtLeast": AtLeast, "AtMost": AtMost, "Guard": NoWorse}
_OURS = "harness.metrics."


@dataclass(frozen=True)
class ScoredMetric:
    """A metric of which the scores are left: their mean is the metric, and nothing can be scored again.

    pairs: a score is one system's share of a pair of answers.
    """

    name: str
    better: Direction
    unit: str
    pairs: bool = False


def rebuilt_metric(
    statistic: Mapping[str, Any] | None, *, name: str, better: Direction, unit: str, pairs: bool = False
) -> Named | None:
    """Return a metric that `compare` takes, or None where only a user's own code could compute it.

    statistic: as the declared rule names it. A class is imported only from this package: whoever opens a page runs no
    code that the page names.
    """
    if statistic is None:
        return ScoredMetric(name, better, unit, pairs)
    module, _, kind = str(statistic.get("class", "")).partition(":")
    fields = statistic.get("fields")
    if not module.startswith(_OURS) or not isinstance(fields, Mapping):
        return None
    try:
        found = getattr(importlib.import_module(module), kind)(**fields)
    except (ImportError, AttributeError, TypeError, HarnessError):
        return None
    return found if isinstance(found, CorpusMetric) else None


def criterion_of(declared: Mapping[str, Any], metrics: Mapping[str, Named]) -> Criterion | None:
    """Return the criterion of a declared rule, or None where it is a user's own.

    metrics: by the name of their comparison.

    Raises KeyError where its metric is not among them.
    """
    kind, number = declared["kind"], declared["number"]
    if kind == "BreakEven":
        made: Criterion = criteria.BreakEven(number)
        return made
    if kind not in _KINDS:
        return None
    rule: Criterion = _KINDS[kind](metrics[declared["metrics"][0]], number)
    return rule


def system_scores(
    system: str,
    *,
    runs: Sequence[tuple[int, int]],
    ids: Sequence[str],
    groups: Sequence[str | None],
    scores: Sequence[Sequence[float]],
    details: Sequence[Sequence[object]],
) -> SystemScores:
    """Return scores as `compare` takes them: repeats of one seed are averaged before anything else.

    runs: (seed, repeat) of each row of `scores` and `details`, which hold one entry a sample, in the order of `ids`.

    Raises Incomparable where shapes disagree.
    """
    seeds = list(dict.fromkeys(seed for seed, _ in runs))
    rows = [[scores[place] for place, (of, _) in enumerate(runs) if of == seed] for seed in seeds]
    first = [next(place for place, (of, _) in enumerate(runs) if of == seed) for seed in seeds]
    return SystemScores(
        system=system,
        sample_ids=tuple(ids),
        scores=np.array([np.mean(np.array(of_seed, dtype=np.float64), axis=0) for of_seed in rows]),
        details=tuple(tuple(details[place]) for place in first),
        clusters=tuple(groups),
    )


@dataclass(frozen=True)
class RecordedCriterion:
    """A user's own criterion, of which only what it said is left."""

    metrics: tuple[str, ...]
    said: list[dict[str, Any]]

    def judge(self, comparisons: object) -> Finding:
        """Raises InvalidData where no finding was recorded."""
        if not self.said:
            raise InvalidData(f"no finding is recorded for the criterion on {', '.join(self.metrics)}")
        numbers = {name: math.nan for name in ("value", "low", "high", "threshold") if self.said[0][name] is None}
        return Finding(**{**self.said[0], **numbers})


def recorded_comparison(stored: Mapping[str, Any], unit: str) -> Comparison:
    """Return a comparison as a page or the store tells it, for one that cannot be computed again; without spread."""

    def end(name: str, otherwise: float) -> float:
        return otherwise if stored[name] is None else float(stored[name])

    return Comparison(
        **{name: stored[name] for name in ("metric", "better", "split", "baseline", "tuned", "samples", "seeds")},
        baseline_mean=end("baseline_mean", math.inf),
        baseline_low=-math.inf,
        baseline_high=math.inf,
        tuned_mean=end("tuned_mean", math.inf),
        tuned_low=end("tuned_low", -math.inf),
        tuned_high=end("tuned_high", math.inf),
        difference=end("difference", 0.0),
        low=end("low", -math.inf),
        high=end("high", math.inf),
        p_value=end("p_value", 1.0),
        spread=0.0,
        method=stored["method"],
        unit=unit,
        level=stored["level"],
    )


def recorded_saving(stored: Mapping[str, Any]) -> Estimate | None:
    """Return the saving of a request that a page or the store tells with a payback; None where it is unknown."""
    saving = stored["saving"]
    return None if saving is None else _change(saving)


def recorded_quality(stored: Mapping[str, Any]) -> Quality | None:
    """Return how the answers compared where a payback was told; None in older ones, which did not ask."""
    found = stored.get("quality")
    return None if found is None else Quality(**{**found, "difference": _change(found["difference"])})


def _change(stored: Mapping[str, Any]) -> Estimate:
    low, value, high = stored["low"], stored["value"], stored["high"]
    return Estimate(value, -math.inf if low is None else low, math.inf if high is None else high)


def recorded_payback(stored: Mapping[str, Any]) -> Payback:
    """Return the payback that a page or the store tells; null stands for an infinite end."""
    requests = stored["requests"]
    ends = ("value", "low", "high")
    known = {name: stored[name] for name in ("baseline", "tuned", "currency", "training_seconds", "samples", "level")}
    return Payback(
        **known,
        training_cost=stored["training_cost"],
        baseline_cost=None,
        tuned_cost=None,
        saving=recorded_saving(stored),
        requests=None
        if requests is None
        else Estimate(*(math.inf if requests[e] is None else requests[e] for e in ends)),
        quality=recorded_quality(stored),
        basis=stored["basis"],
        notes=tuple(stored["notes"]),
        sentence=stored["sentence"],
    )
