"""Where a tuned system helps and hurts: its difference from the baseline on parts of the holdout."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.compare import DEFAULT_LEVEL, Comparison, SystemScores, compare, statistic_of
from harness.errors import Incomparable
from harness.insights.traits import traits
from harness.protocols import CorpusMetric, Named
from harness.samples import Sample, Split
from harness.stats.multiplicity import benjamini_hochberg
from harness.system_scores import group_count

FEWEST_TESTED = 10

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One metric's paired difference on the samples that share one trait.

    dimension: "tag: NAME", "length", "label", "language" or "leakage". value: the trait, in words. position: where
    it stands in the table. Means, difference, low and high are in score units. low, high, p_value and q_value are
    None where the samples are too few to test. q_value: p_value corrected for all tested slices of the metric
    (Benjamini and Hochberg); None where the slice is no part of that search, as with "leakage".
    """

    metric: str
    dimension: str
    value: str
    position: int
    samples: int
    baseline_mean: float
    tuned_mean: float
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    q_value: float | None


def slices(
    metric: Named,
    *,
    baseline: SystemScores,
    tuned: SystemScores,
    samples: Sequence[Sample],
    language_of: Callable[[str], str | None] | None = None,
    level: float = DEFAULT_LEVEL,
) -> tuple[Slice, ...]:
    """Return the differences by declared tags, input length, label and language. They are explored, never decide.

    samples: those of the scores, in their order. A slice of fewer than `FEWEST_TESTED` samples, or clusters of them,
    is counted, not tested. Every trait parts the whole holdout, so each costs about one comparison of it: seconds for
    a metric that is resampled (unbounded, or of the set) on 10,000 samples or more, milliseconds for a bounded mean.

    Raises Incomparable where samples and scores differ.
    Source: Benjamini and Hochberg, Controlling the False Discovery Rate, JRSS B 57 (1995).
    """
    _require_same(metric, baseline, tuned, tuple(sample.id for sample in samples))
    found: list[Slice] = []
    for trait in traits(samples, language_of):
        of_samples = np.array(trait.of_samples, dtype=object)
        for value in trait.values:
            places = np.flatnonzero(of_samples == value)
            named = (trait.dimension, value, len(found))
            found.append(_slice(metric, named, (baseline, tuned), places, level))
    return _with_q_values(found)


def clean_subset(
    metric: Named,
    *,
    baseline: SystemScores,
    tuned: SystemScores,
    leaked: Collection[str],
    level: float = DEFAULT_LEVEL,
) -> tuple[Slice, ...]:
    """Return the difference on the samples that no leakage check names ("clean"), then on all ("all").

    Empty where no sample of these leaked; without "clean" where every one did.

    Raises Incomparable where the two systems were scored on different samples.
    """
    _require_same(metric, baseline, tuned, baseline.sample_ids)
    kept = np.array([name not in leaked for name in baseline.sample_ids])
    if kept.all():
        return ()
    parts = [("clean", np.flatnonzero(kept)), ("all", np.arange(kept.size))]
    return tuple(
        _slice(metric, ("leakage", value, place), (baseline, tuned), places, level)
        for place, (value, places) in enumerate(parts)
        if places.size
    )


def _require_same(metric: Named, baseline: SystemScores, tuned: SystemScores, ids: tuple[str, ...]) -> None:
    for system in (baseline, tuned):
        if system.sample_ids != ids:
            raise Incomparable(
                f"{metric.name}: {system.system} was scored on other samples than those to be sliced, or in another "
                "order; give the samples of the split in its order"
            )


def _slice(
    metric: Named,
    named: tuple[str, str, int],
    systems: tuple[SystemScores, SystemScores],
    places: Places,
    level: float,
) -> Slice:
    baseline, tuned = (_part(system, places) for system in systems)
    found: Comparison | None = None
    if (group_count(baseline) or places.size) >= FEWEST_TESTED:
        found = compare(metric, split=Split.HOLDOUT.value, baseline=baseline, tuned=tuned, level=level)
    before, after = (
        (found.baseline_mean, found.tuned_mean) if found else (_mean(metric, baseline), _mean(metric, tuned))
    )
    dimension, value, position = named
    return Slice(
        metric=metric.name,
        dimension=dimension,
        value=value,
        position=position,
        samples=int(places.size),
        baseline_mean=before,
        tuned_mean=after,
        difference=after - before,
        low=found.low if found and math.isfinite(found.low) else None,
        high=found.high if found and math.isfinite(found.high) else None,
        p_value=found.p_value if found else None,
        q_value=None,
    )


def _part(system: SystemScores, places: Places) -> SystemScores:
    return SystemScores(
        system=system.system,
        sample_ids=tuple(system.sample_ids[place] for place in places),
        scores=system.scores[:, places],
        details=tuple(tuple(row[place] for place in places) for row in system.details),
        clusters=tuple(system.clusters[place] for place in places) if system.clusters else (),
    )


def _mean(metric: Named, system: SystemScores) -> float:
    if isinstance(metric, CorpusMetric):
        once = np.ones((1, len(system.sample_ids)))
        return float(np.mean([statistic_of(metric)(row, once)[0] for row in system.details]))
    return float(system.scores.mean())


def _with_q_values(found: Sequence[Slice]) -> tuple[Slice, ...]:
    tested = [part.p_value for part in found if part.p_value is not None]
    if not tested:
        return tuple(found)
    corrected = iter(benjamini_hochberg(tested))
    return tuple(part if part.p_value is None else replace(part, q_value=float(next(corrected))) for part in found)
