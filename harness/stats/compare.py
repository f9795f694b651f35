"""Score rows of two systems -> one paired Comparison a metric.

One metric's scores of one system on one split: what the comparisons take.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from harness.errors import HarnessError, Incomparable
from harness.stats.corpus import Corpus, corpus_difference, corpus_mean, project_corpus
from harness.stats.evidence import MeanEstimate, Scores, difference_of, mean_of, project
from harness.stats.intervals import EVERYTHING, Clusters, Interval, cluster_count
from harness.stats.projection import Projection
from harness.stats.wording import FRACTION, Counts, confidence
from harness.types.numbers import shown
from harness.types.protocols import CorpusMetric, Direction, FloatArray, JudgedMetric, Named, PairMetric
from harness.types.samples import TIMED_IN_BATCH

_NAMED_AT_MOST = 3


@dataclass(frozen=True, eq=False)
class SystemScores:
    """One metric's scores of one system on one split.

    Args:
        scores: Shape (seeds, n).
        details: `Score.detail` a seed and sample; may be empty but for corpus metrics.
        clusters: `Sample.cluster` a sample; may be empty if no sample has one.

    Raises:
        Incomparable: If a score is not a number, an id comes twice, or the shapes disagree.
    """

    system: str
    sample_ids: tuple[str, ...]
    scores: FloatArray
    details: tuple[tuple[object, ...], ...] = ()
    clusters: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.sample_ids)
        if n == 0 or self.scores.ndim != 2 or self.scores.shape[0] == 0 or self.scores.shape[1] != n:
            raise Incomparable(
                f"{self.system}: scores of shape {self.scores.shape} for {n} samples; (seeds, n) is needed"
            )
        if len(self.clusters) not in (0, n):
            raise Incomparable(f"{self.system}: {len(self.clusters)} groups for {n} samples; give one a sample or none")
        if len(set(self.sample_ids)) < n:
            twice = next(name for place, name in enumerate(self.sample_ids) if name in self.sample_ids[:place])
            raise Incomparable(f"{self.system}: sample {twice!r} is scored twice; every sample counts once")
        bad = np.argwhere(~np.isfinite(self.scores))
        if bad.size:
            seed, place = bad[0]
            raise Incomparable(
                f"{self.system}: the score of sample {self.sample_ids[place]!r} (run {seed + 1} of {len(self.scores)}) "
                f"is {self.scores[seed, place]}; {len(bad)} such in all: make the metric return a finite number"
            )


def require_same_samples(metric: Named, baseline: SystemScores, tuned: SystemScores) -> None:
    """Raise Incomparable that names what only one system was measured on, or groups that differ."""
    if baseline.sample_ids == tuned.sample_ids:
        if group_codes(baseline) is not None and baseline.clusters != tuned.clusters:
            raise Incomparable(
                f"{metric.name}: {baseline.system} and {tuned.system} name other groups for the same samples"
            )
        return
    pair = f"{metric.name}: {baseline.system} and {tuned.system}"
    only_one = {
        baseline.system: sorted(set(baseline.sample_ids) - set(tuned.sample_ids)),
        tuned.system: sorted(set(tuned.sample_ids) - set(baseline.sample_ids)),
    }
    if not any(only_one.values()):
        raise Incomparable(f"{pair} list the same samples in another order; give both in the order of the split")
    parts = [
        f"{len(ids)} only in {system} ({', '.join(ids[:_NAMED_AT_MOST])}{', ...' if len(ids) > _NAMED_AT_MOST else ''})"
        for system, ids in only_one.items()
        if ids
    ]
    raise Incomparable(
        f"{pair} were measured on different samples: {'; '.join(parts)}; measure both on the whole split"
    )


def group_codes(system: SystemScores) -> Clusters | None:
    """Return the group number of each sample, or None if no two samples share a group."""
    numbers: dict[object, int] = {}
    keys = [(place,) if group is None else group for place, group in enumerate(system.clusters)]
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return codes if 0 < len(numbers) < len(keys) else None


def group_count(system: SystemScores) -> int | None:
    """Return how many groups there are, or None if no two samples share one."""
    codes = group_codes(system)
    return None if codes is None else cluster_count(codes)


def timed_together(*systems: SystemScores) -> Clusters | None:
    """Return which samples cannot be told apart in time, a number each; None if each was timed by itself.

    A detail {"timed_in_batch": n} says that a score is a share of batch n, whose time was dealt out evenly. Samples
    hang together if they share a batch, or a group, in any system or seed.
    """
    n = len(systems[0].sample_ids)
    leader = list(range(n))

    def led(place: int) -> int:
        while leader[place] != place:
            leader[place] = place = leader[leader[place]]
        return place

    first: dict[object, int] = {}
    for place, shared in ((place, shared) for system in systems for place, shared in _shared(system)):
        leader[led(place)] = led(first.setdefault(shared, place))
    numbers: dict[int, int] = {}
    codes = np.array([numbers.setdefault(led(place), len(numbers)) for place in range(n)], dtype=np.int64)
    return codes if len(numbers) < n else None


def is_timed(system: SystemScores) -> bool:
    """Tell whether scores are times, or made of times."""
    return any(isinstance(detail, Mapping) and TIMED_IN_BATCH in detail for row in system.details for detail in row)


def shares_batches(system: SystemScores) -> bool:
    """Tell whether some score is a share of a batch's time."""
    return any(_batch(detail) is not None for row in system.details for detail in row)


def _shared(system: SystemScores) -> Iterator[tuple[int, object]]:
    """Yield each sample's place with what it shares: its group, and its batch in each seed."""
    yield from ((place, ("group", group)) for place, group in enumerate(system.clusters) if group is not None)
    for seed, row in enumerate(system.details):
        for place, detail in enumerate(row):
            batch = _batch(detail)
            if batch is not None:
                yield place, (id(system), seed, batch)


def _batch(detail: object) -> object:
    return detail.get(TIMED_IN_BATCH) if isinstance(detail, Mapping) else None


def _part(system: SystemScores, places: list[int]) -> SystemScores:
    return SystemScores(
        system=system.system,
        sample_ids=tuple(system.sample_ids[place] for place in places),
        scores=system.scores[:, places],
        details=tuple(tuple(row[place] for place in places) for row in system.details),
        clusters=tuple(system.clusters[place] for place in places) if system.clusters else (),
    )


DEFAULT_LEVEL = 0.95
_SEED = 0  # of every bootstrap, so that a page can be computed again
SECONDS = "s"
_NO_WIDTH = 1e-9  # of the value: what is left of equal numbers after adding them up
ONE_SEED = "one seed: training variance was not measured"
_IN_BATCHES = "a batch's time is dealt out evenly, so that batches are counted, not samples"
_ALL_ALIKE = "every time is the same: that says nothing of how times vary, so that the interval has no ends"


@runtime_checkable
class HasUnit(Protocol):
    """Optional member of a metric: what its scores are counted in.

    "%" for scores in [0, 1], "" for plain numbers, else the unit itself, such as "s". Without it, scores are taken
    for fractions where all are 0 or 1, or all lie in [0, 1] and higher is better (short times lie there too).
    """

    @property
    def unit(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of the tuned system against one baseline on the same samples.

    Means and the difference (tuned minus baseline) are in score units; low and high bound the difference with
    confidence `level`, tuned_low and tuned_high the tuned mean, baseline_low and baseline_high the baseline's. An
    end is infinite where the data say nothing (one sample, one group).
    spread: standard error of the difference times sqrt(samples), for the needed sample count: what one sample
    adds, with clusters counted in. seed_spread: standard deviation between the tuned seeds' means; 0 with one.
    method: interval and test in words, with the unit of analysis. unit: as in HasUnit. groups: how many clusters the
    samples are, each counted as one; None if each sample stands alone. guard: it is of a second task, whose name
    stands before the metric's. always_valid: the intervals hold at every look. noise: what the metric moves by without
    a change. projection: the same with more samples; None if the scores are not at hand.
    """

    metric: str
    better: Direction
    split: str
    baseline: str
    tuned: str
    baseline_mean: float
    baseline_low: float
    baseline_high: float
    tuned_mean: float
    tuned_low: float
    tuned_high: float
    difference: float
    low: float
    high: float
    p_value: float
    samples: int
    seeds: int
    spread: float
    method: str
    notes: tuple[str, ...] = ()
    unit: str = ""
    seed_spread: float = 0.0
    level: float = DEFAULT_LEVEL
    groups: int | None = None
    guard: bool = False
    always_valid: bool = False
    noise: float = 0.0
    projection: Projection | None = field(default=None, compare=False, repr=False)

    @property
    def counts(self) -> Counts:
        return Counts(self.samples, self.seeds, self.groups)


def compare(
    metric: Named,
    *,
    split: str,
    baseline: SystemScores,
    tuned: SystemScores,
    level: float = DEFAULT_LEVEL,
) -> Comparison:
    """Return the paired comparison of two systems on the same samples.

    A sample's score is its mean over seeds; the two systems may have different numbers of seeds.
    level: confidence of every interval, in (0, 1); an exact test decides at 1 - level.

    Raises:
        Incomparable: If the systems were measured on different samples.
    """
    require_same_samples(metric, baseline, tuned)
    unit = unit_of(metric, baseline, tuned)
    if isinstance(metric, CorpusMetric):
        before, after = _corpus(metric, baseline, unit), _corpus(metric, tuned, unit)
        own = tuple(corpus_mean(side, seed=_SEED, level=level) for side in (before, after))
        difference = corpus_difference(after, before, seed=_SEED, level=level)
        more = project_corpus(after, before, seed=_SEED, level=level)
    else:
        old, new = _plain(baseline, unit), _plain(tuned, unit)
        own = tuple(mean_of(side, seed=_SEED, level=level) for side in (old, new))
        times = _are_times(unit, baseline, tuned)
        if times:
            new = replace(new, clusters=timed_together(baseline, tuned))
        difference = difference_of(new, old, seed=_SEED, level=level)
        more = project(new, old, seed=_SEED, level=level)
        if times:
            own = tuple(_doubted(side) for side in own)
            difference = _doubted(difference, in_batches=shares_batches(baseline) or shares_batches(tuned))
    seeds = len(tuned.scores)
    notes = difference.notes if seeds > 1 else (*difference.notes, ONE_SEED)
    if scores_pairs(metric):
        # The two shares of a pair add up to 1: one interval says all there is to say.
        own = tuple(
            replace(side, interval=_share(difference.interval, of)) for side, of in zip(own, (-1, 1), strict=True)
        )
        projected = more.difference
        more = replace(more, own=lambda units: _share(projected(units), 1))
    sides = _Side(baseline, own[0]), _Side(tuned, own[1])
    found = _comparison(_Asked(metric, split, unit, level), *sides, replace(difference, notes=notes))
    return replace(found, projection=None if _are_times(unit, baseline, tuned) else more)


def scores_pairs(metric: Named) -> bool:
    """Tell whether a score is one system's share of a pair of answers, of which the other has the rest."""
    return isinstance(metric, PairMetric | JudgedMetric) or bool(getattr(metric, "pairs", False))


def standing(metric: Named, *, split: str, system: SystemScores, level: float = DEFAULT_LEVEL) -> Comparison:
    """Return one system's mean with its own interval, as a comparison with itself (difference 0).

    For `stop_if`, the choice on DEV and the scoreboard.
    """
    unit = unit_of(metric, system)
    if isinstance(metric, CorpusMetric):
        own = corpus_mean(_corpus(metric, system, unit), seed=_SEED, level=level)
    else:
        own = mean_of(_plain(system, unit), seed=_SEED, level=level)
        own = _doubted(own) if _are_times(unit, system) else own
    side = _Side(system, own)
    return _comparison(_Asked(metric, split, unit, level), side, side, None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is compared, and how sure every interval is to be."""

    metric: Named
    split: str
    unit: str
    level: float


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One system, and its own mean."""

    system: SystemScores
    mean: MeanEstimate


def _comparison(asked: _Asked, baseline: _Side, tuned: _Side, difference: MeanEstimate | None) -> Comparison:
    before, after, level = baseline.mean, tuned.mean, asked.level
    shown = difference or after
    return Comparison(
        metric=asked.metric.name,
        better=asked.metric.better,
        split=asked.split,
        baseline=baseline.system.system,
        tuned=tuned.system.system,
        baseline_mean=before.value,
        baseline_low=before.interval.low,
        baseline_high=before.interval.high,
        tuned_mean=after.value,
        tuned_low=after.interval.low,
        tuned_high=after.interval.high,
        difference=difference.value if difference else 0.0,
        low=difference.interval.low if difference else 0.0,
        high=difference.interval.high if difference else 0.0,
        p_value=difference.p_value if difference else 1.0,
        samples=len(tuned.system.sample_ids),
        seeds=len(tuned.system.scores),
        spread=shown.spread,
        method=shown.method if level == DEFAULT_LEVEL else f"{shown.method}; {confidence(level)} confidence",
        notes=shown.notes,
        unit=asked.unit,
        seed_spread=after.seed_spread,
        level=level,
        groups=group_count(tuned.system),
    )


def _share(difference: Interval, of: int) -> Interval:
    """Return the interval of a share, of a difference of 2 x share - 1; of: 1 for the tuned side, -1 for the other."""
    ends = sorted((1 + of * end) / 2 for end in (difference.low, difference.high))
    return Interval(max(0.0, ends[0]), min(1.0, ends[1]))


def unit_of(metric: Named, *systems: SystemScores) -> str:
    """Return what a metric is counted in, as in HasUnit; without scores more of it is taken for a fraction."""
    if isinstance(metric, HasUnit):
        return metric.unit
    if not systems:
        return FRACTION if metric.better == "higher" else ""
    scores = np.concatenate([system.scores.ravel() for system in systems])
    inside = bool(((scores >= 0) & (scores <= 1)).all())
    if isinstance(metric, CorpusMetric):  # Perplexity's scores may lie in [0, 1] where perplexity does not.
        inside = inside and all(bool((_corpus(metric, system, "").observed <= 1).all()) for system in systems)
    fraction = inside and (metric.better == "higher" or bool(np.isin(scores, (0.0, 1.0)).all()))
    return FRACTION if fraction else ""


def _plain(system: SystemScores, unit: str) -> Scores:
    bounded = unit == FRACTION and bool(((system.scores >= 0) & (system.scores <= 1)).all())
    clusters = timed_together(system) if _are_times(unit, system) else group_codes(system)
    return Scores(values=system.scores, clusters=clusters, bounded=bounded)


def _are_times(unit: str, *systems: SystemScores) -> bool:
    """Tell whether scores are seconds, or what seconds cost."""
    return unit == SECONDS or any(is_timed(system) for system in systems)


def _doubted(found: MeanEstimate, *, in_batches: bool = False) -> MeanEstimate:
    """Return an estimate of times: an interval without width has no ends, since times that are alike show no spread."""
    notes = (*found.notes, _IN_BATCHES) if in_batches else found.notes
    if not math.isclose(found.interval.low, found.interval.high, rel_tol=_NO_WIDTH):
        return replace(found, notes=notes)
    return replace(found, interval=EVERYTHING, p_value=1.0, notes=(*notes, _ALL_ALIKE))


def _corpus(metric: CorpusMetric, system: SystemScores, unit: str) -> Corpus:
    details = system.details
    if len(details) != len(system.scores) or any(len(row) != len(system.sample_ids) for row in details):
        raise Incomparable(
            f"{metric.name}: {system.system} has no detail for every seed and sample; score() must give it"
        )
    return Corpus(name=metric.name, statistic=statistic_of(metric), details=details, scores=_plain(system, unit))


def statistic_of(metric: CorpusMetric) -> Callable[[Sequence[object], FloatArray], FloatArray]:
    """Return the metric's own statistic as an array of floats; what else it gives is refused by name."""

    def statistic(details: Sequence[object], weights: FloatArray) -> FloatArray:
        asked = f"{metric.name}: statistic() of {len(weights):,} weighted sets"
        remedy = f"return an array of {len(weights):,} numbers, one for each row of weights"
        try:
            found = metric.statistic(details, weights)
            numbers: FloatArray = np.asarray(found, dtype=np.float64)
        except HarnessError:
            raise
        except Exception as error:  # a metric is the user's own code
            raise Incomparable(f"{asked} raised {type(error).__name__}: {error}; {remedy}") from error
        if numbers.shape != (len(weights),):
            raise Incomparable(f"{asked} gave {shown(found)}; {remedy}")
        return numbers

    return statistic
