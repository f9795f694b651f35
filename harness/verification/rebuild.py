"""Metrics, criteria and scores made anew from stored values, without the experiment's file and without its code."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.errors import HarnessError, InvalidData
from harness.experiment import criteria
from harness.experiment.criteria import AtLeast, AtMost, Criterion, Finding, Gain, NoWorse
from harness.experiment.declaration import DeclaredCriterion, DeclaredMetric
from harness.stats.compare import Comparison, SystemScores
from harness.store.rows import ComparisonRow
from harness.types.codec import from_json
from harness.types.protocols import CorpusMetric, Direction, Named

_KINDS: dict[str, Any] = {"Gain": Gain, "NoWorse": NoWorse, "AtLeast": AtLeast, "AtMost": AtMost, "Guard": NoWorse}
_OURS = "harness.metrics."


@dataclass(frozen=True)
class ScoredMetric:
    """A metric of which the scores are left: their mean is the metric, and nothing can be scored again.

    Args:
        pairs: A score is one system's share of a pair of answers.
    """

    name: str
    better: Direction
    unit: str
    pairs: bool = False


def rebuilt_metric(declared: DeclaredMetric | None, *, name: str, better: Direction, unit: str) -> Named | None:
    """Return a metric that `compare` takes, or None if only a user's own code could compute it.

    Args:
        declared: As the rule names it. A class is imported only from this package: whoever opens a page runs no
            code that the page names.
    """
    statistic = declared.statistic if declared else None
    if statistic is None:
        return ScoredMetric(name, better, unit, declared is not None and declared.pairs)
    module, _, kind = statistic.path.partition(":")
    if not module.startswith(_OURS) or statistic.fields is None:
        return None
    try:
        found = getattr(importlib.import_module(module), kind)(**statistic.fields)
    except (ImportError, AttributeError, TypeError, HarnessError):
        return None
    return found if isinstance(found, CorpusMetric) else None


def criterion_of(declared: DeclaredCriterion, metrics: Mapping[str, Named]) -> Criterion | None:
    """Return the criterion of a declared rule, or None if it is a user's own.

    Args:
        metrics: By the name of their comparison.

    Raises:
        KeyError: If its metric is not among them.
    """
    if declared.kind == "BreakEven" and declared.number is not None:
        made: Criterion = criteria.BreakEven(declared.number)
        return made
    if declared.kind not in _KINDS:
        return None
    rule: Criterion = _KINDS[declared.kind](metrics[declared.metrics[0]], declared.number)
    return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRun:
    """One run's scores and details, one entry a sample."""

    seed: int
    repeat: int
    scores: Sequence[float]
    details: Sequence[object]


def system_scores(
    system: str, *, runs: Sequence[ScoredRun], ids: Sequence[str], groups: Sequence[str | None]
) -> SystemScores:
    """Return scores as `compare` takes them: repeats of one seed are averaged before anything else.

    Args:
        ids, groups: Of the samples, in the order of the scores; groups may be empty.

    Raises:
        Incomparable: If shapes disagree.
    """
    by_seed: dict[int, list[ScoredRun]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(run)
    return SystemScores(
        system=system,
        sample_ids=tuple(ids),
        scores=np.array(
            [np.mean(np.array([run.scores for run in of], dtype=np.float64), axis=0) for of in by_seed.values()]
        ),
        details=tuple(tuple(of[0].details) for of in by_seed.values()),
        clusters=tuple(groups),
    )


@dataclass(frozen=True)
class RecordedCriterion:
    """A user's own criterion, of which only what it said is left."""

    metrics: tuple[str, ...]
    said: Sequence[Finding]

    def judge(self, comparisons: object) -> Finding:
        """Raises:
        InvalidData: If no finding was recorded.
        """
        if not self.said:
            raise InvalidData(f"no finding is recorded for the criterion on {', '.join(self.metrics)}")
        return self.said[0]


def recorded_comparison(stored: ComparisonRow, unit: str) -> Comparison:
    """Return a comparison as a page or the store tells it, for one that cannot be computed again; without spread."""
    unknown = {"baseline_low": None, "baseline_high": None, "spread": 0.0, "unit": unit}
    certain = {"difference": stored.difference or 0.0, "p_value": 1.0 if stored.p_value is None else stored.p_value}
    return from_json(Comparison, {**asdict(stored), **unknown, **certain})
