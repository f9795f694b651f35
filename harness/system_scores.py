"""One metric's scores of one system on one split: what the comparisons take."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.errors import Incomparable
from harness.protocols import FloatArray, Named
from harness.samples import TIMED_IN_BATCH
from harness.stats.intervals import Clusters, cluster_count

_NAMED_AT_MOST = 3


@dataclass(frozen=True, eq=False)
class SystemScores:
    """One metric's scores of one system on one split.

    scores: shape (seeds, n). details: `Score.detail` a seed and sample; may be empty but for corpus metrics.
    clusters: `Sample.cluster` a sample; may be empty where no sample has one.

    Raises Incomparable where a score is not a number, an id comes twice, or the shapes disagree.
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


def on_shared_samples(
    baseline: SystemScores, tuned: SystemScores, *, most_missing: float = 0.0
) -> tuple[SystemScores, SystemScores]:
    """Return both systems on the samples that both were measured on, in the baseline's order.

    most_missing: the largest share of all samples, in [0, 1], that may be missing from one of them. What is missing is
    seldom missing by chance: the answers that failed are the hard ones.

    Raises Incomparable above it, or where nothing is shared.
    """
    shared = set(baseline.sample_ids) & set(tuned.sample_ids)
    total = len({*baseline.sample_ids, *tuned.sample_ids})
    if not shared or total - len(shared) > most_missing * total:
        raise Incomparable(
            f"{baseline.system} and {tuned.system} share {len(shared)} of {total} samples; "
            f"at most {most_missing:.1%} may be missing: measure both on the whole split"
        )
    places = {name: place for place, name in enumerate(tuned.sample_ids)}
    kept = [name for name in baseline.sample_ids if name in shared]
    old = {name: place for place, name in enumerate(baseline.sample_ids)}
    return _part(baseline, [old[name] for name in kept]), _part(tuned, [places[name] for name in kept])


def group_codes(system: SystemScores) -> Clusters | None:
    """Return the group number of each sample, or None where no two samples share a group."""
    numbers: dict[object, int] = {}
    keys = [(place,) if group is None else group for place, group in enumerate(system.clusters)]
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return codes if 0 < len(numbers) < len(keys) else None


def group_count(system: SystemScores) -> int | None:
    """Return how many groups there are, or None where no two samples share one."""
    codes = group_codes(system)
    return None if codes is None else cluster_count(codes)


def timed_together(*systems: SystemScores) -> Clusters | None:
    """Return which samples cannot be told apart in time, a number each; None where each was timed by itself.

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
