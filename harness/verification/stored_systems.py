"""Any two stored systems on a split that both were measured on, with the statistics of a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import Incomparable
from harness.experiment.declaration import Declaration, Rule
from harness.report.read import DEV, HOLDOUT
from harness.stats.compare import Comparison, SystemScores, compare
from harness.stats.wording import count, difference_text, p_text, rounded, sample_count
from harness.store.queries import declaration_of, scores_of, stored_samples, system_means
from harness.store.rows import SampleRow, ScoreRow, SystemMeanRow
from harness.types.codec import from_json
from harness.types.protocols import Direction, Named
from harness.verification.rebuild import ScoredRun, rebuilt_metric, system_scores


@dataclass(frozen=True, slots=True)
class Measured:
    """One system as one experiment measured it."""

    experiment: str
    system: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComparison:
    """Every metric that both systems have on `split`; remarks name those that were left out, and why."""

    first: Measured
    second: Measured
    split: str
    comparisons: tuple[Comparison, ...]
    remarks: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return two lines a metric, with the doubt of each number."""
        first, second = _spoken(self.first, self.second)
        found = [f"{first} -> {second} on {self.split}, {_counted(self.comparisons[0])}"]
        for row in self.comparisons:
            unit = row.unit
            before, after = rounded(row.baseline_mean, unit=unit), rounded(row.tuned_mean, unit=unit)
            gain = difference_text(row.difference, row.low, row.high, unit=unit)
            found.append(f"{row.metric} ({row.better} is better): {before} -> {after}, {gain}, {p_text(row.p_value)}")
            found.append(f"  {'. '.join((row.method, *row.notes))}")
        found += [f"  remark: {text}" for text in self.remarks]
        return [*found, "explored after the fact: choose by it on dev; a verdict takes an experiment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """What a comparison is narrowed to; None is as `compare_stored` says."""

    experiment: str | None = None
    split: str | None = None
    metric: str | None = None


_EVERYWHERE = Within()


def compare_stored(path: Path, first: str, second: str, within: Within = _EVERYWHERE) -> StoredComparison:
    """Return second minus first on a split; without one, on the holdout if both were measured there, else on DEV.

    Args:
        path: The store. A system is its name, or "experiment:name" where several experiments have one of that name.

    Raises:
        Incomparable: If a system is unknown or ambiguous, no metric is shared, or the samples differ.
    """
    split = within.split
    tables = {name: system_means(path, name) for name in ((split,) if split else (HOLDOUT, DEV))}
    pair, on = _pair(tables, first, second, within.experiment)
    means = tables[on]
    shared = _shared_metrics(means, pair, within.metric)
    samples = [stored_samples(path, experiment=one.experiment, split=on) for one in pair]
    _require_same_questions(pair, samples)
    scores = [scores_of(path, experiment=one.experiment, system=one.system, split=on) for one in pair]
    declared = from_json(Declaration, declaration_of(path, pair[0].experiment))
    comparisons, remarks = [], []
    for name, better in shared.items():
        rebuilt = _rebuilt(declared, name, better, same=pair[0].experiment == pair[1].experiment)
        if isinstance(rebuilt, str):
            remarks.append(rebuilt)
            continue
        sides = [
            _side(one, other, rows, name, order)
            for one, other, rows, order in zip(pair, reversed(pair), scores, samples, strict=True)
        ]
        comparisons.append(compare(rebuilt, split=on, baseline=sides[0], tuned=sides[1]))
    if not comparisons:
        raise Incomparable("; ".join(remarks))
    return StoredComparison(
        first=pair[0], second=pair[1], split=on, comparisons=tuple(comparisons), remarks=tuple(remarks)
    )


def _pair(
    tables: Mapping[str, Sequence[SystemMeanRow]], first: str, second: str, experiment: str | None
) -> tuple[tuple[Measured, Measured], str]:
    """Return the two systems and the first split on which both were measured; one experiment with both goes first."""
    found = {
        split: (_candidates(means, first, experiment), _candidates(means, second, experiment))
        for split, means in tables.items()
    }
    together = {
        split: [(one, other) for one in firsts for other in seconds if one.experiment == other.experiment]
        for split, (firsts, seconds) in found.items()
    }
    apart = {split: [(one, other) for one in firsts for other in seconds] for split, (firsts, seconds) in found.items()}
    for split, pairs in (*together.items(), *apart.items()):
        if pairs:
            return _only(pairs, (first, second)), split
    known = sorted({f"{row.experiment}:{row.system}" for means in tables.values() for row in means})
    for place, name in enumerate((first, second)):
        if not any(candidates[place] for candidates in found.values()):
            within = f" of experiment {experiment}" if experiment else ""
            raise Incomparable(
                f"no system {name!r}{within} was measured on {' or '.join(tables)}; "
                f"the store has {', '.join(known) or 'none'}"
            )
    raise Incomparable(f"{first} and {second} were measured on no split in common")


def _candidates(means: Sequence[SystemMeanRow], name: str, experiment: str | None) -> list[Measured]:
    found = {
        Measured(row.experiment, row.system): None
        for row in means
        if name in (row.system, f"{row.experiment}:{row.system}") and experiment in (None, row.experiment)
    }
    return list(found)


def _only(pairs: Sequence[tuple[Measured, Measured]], names: tuple[str, str]) -> tuple[Measured, Measured]:
    if len(pairs) == 1:
        return pairs[0]
    where = sorted({one.experiment for pair in pairs for one in pair})
    raise Incomparable(
        f"{' and '.join(names)} stand in several experiments ({', '.join(where)}); choose with --experiment, or write "
        f"a system as {where[0]}:{names[0].rpartition(':')[2]}"
    )


def _shared_metrics(
    means: Sequence[SystemMeanRow], pair: tuple[Measured, Measured], wanted: str | None
) -> dict[str, Direction]:
    by_system = [
        {row.metric: row.better for row in means if (row.experiment, row.system) == (one.experiment, one.system)}
        for one in pair
    ]
    shared = {name: better for name, better in by_system[0].items() if name in by_system[1]}
    if wanted is None and shared:
        return shared
    if wanted in shared:
        return {wanted: shared[wanted]}
    have = "; ".join(f"{one.system} has {', '.join(found)}" for one, found in zip(pair, by_system, strict=True))
    lacking = f"{wanted} was not measured" if wanted else "no metric was measured"
    raise Incomparable(f"{lacking} for both systems: {have}")


def _require_same_questions(pair: tuple[Measured, Measured], samples: Sequence[Sequence[SampleRow]]) -> None:
    """Equal ids are not enough: row 3 of one file is not row 3 of another."""
    contents = [{row.sample_id: (row.input, row.reference) for row in rows} for rows in samples]
    shared = contents[0].keys() & contents[1].keys()
    names = " and ".join(one.experiment for one in pair)
    if not shared:
        raise Incomparable(
            f"{names} share no samples: {len(contents[0]):,} of one, {len(contents[1]):,} of the other, no id in common"
        )
    other = [name for name in sorted(shared) if contents[0][name] != contents[1][name]]
    if other:
        raise Incomparable(
            f"{len(other):,} of {len(shared):,} samples of {names} bear the same id but other text, "
            f"first {other[0]!r}: the two were not asked the same"
        )


def _rebuilt(declared: Declaration, name: str, better: Direction, *, same: bool) -> Named | str:
    """Return the metric, or why its scores cannot be compared."""
    entry = next((metric for metric in (declared.rule or Rule()).metrics if metric.name == name), None)
    if entry is None:
        return f"{name} was measured by an earlier version, which kept no rule: run the experiment again"
    if entry.pairs and not same:
        return f"{name} scores a pair of answers: it says nothing of systems that were not asked side by side"
    found = rebuilt_metric(entry, name=name, better=better, unit=declared.units.get(name, ""))
    return found or f"{name} is computed of the whole set by a class of one's own, which the store does not hold"


def _side(
    one: Measured, other: Measured, rows: Sequence[ScoreRow], metric: str, samples: Sequence[SampleRow]
) -> SystemScores:
    runs: dict[tuple[int, int], dict[str, ScoreRow]] = {}
    for row in rows:
        if row.metric == metric:
            runs.setdefault((row.seed, row.repeat), {})[row.sample_id] = row
    measured = set.union(*(set(run) for run in runs.values()))
    kept = [sample for sample in samples if sample.sample_id in measured]
    name = one.system if one.system != other.system else f"{one.experiment}:{one.system}"
    return system_scores(
        name,
        runs=[
            ScoredRun(
                seed=seed,
                repeat=repeat,
                scores=[_score(run.get(sample.sample_id)) for sample in kept],
                details=[run[one.sample_id].detail if one.sample_id in run else None for one in kept],
            )
            for (seed, repeat), run in runs.items()
        ],
        ids=[sample.sample_id for sample in kept],
        groups=[sample.cluster for sample in kept],
    )


def _score(row: ScoreRow | None) -> float:
    return float("nan") if row is None or row.score is None else row.score


def _counted(found: Comparison) -> str:
    return count(found.samples, "sample") if found.groups is None else sample_count(found.samples, found.groups)


def _spoken(first: Measured, second: Measured) -> tuple[str, str]:
    if first.experiment == second.experiment:
        return first.system, second.system
    return f"{first.experiment}:{first.system}", f"{second.experiment}:{second.system}"
