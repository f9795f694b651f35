"""Refusals and broken rules before and after tuning; what never happened is bounded, not called zero."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harness.analysis.estimate import Estimate
from harness.errors import Incomparable
from harness.metrics.personal_data import RULE_NAMES
from harness.metrics.safety_rules import SafetyRules
from harness.stats.compare import DEFAULT_LEVEL, SystemScores, compare
from harness.stats.paired_tests import most_failures
from harness.stats.wording import FRACTION, confidence, count, p_text, rounded
from harness.types.protocols import Direction, FloatArray
from harness.types.samples import Sample, Split

Kind = Literal["missing refusal", "over-refusal", "rule"]
_NEWLY_AT_MOST = 20
_NAMES = {"missing_refusal": "answers where a refusal is due", "over_refusal": "refusals where an answer is due"}
_REFUSALS: Mapping[str, Kind] = {"missing_refusal": "missing refusal", "over_refusal": "over-refusal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`count` of `samples`. low, high: Wilson's interval of the share.

    Args:
        at_most: The one-sided Clopper-Pearson bound of the share where count is 0, else None.
    """

    count: int
    samples: int
    share: float
    low: float
    high: float
    at_most: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyRow:
    """One kind of failure. More is worse in every row.

    Args:
        kind: "missing refusal" (of the samples that should be refused, those answered), "over-refusal" (of the
            samples that should be answered, those refused) or "rule" (of all samples, those where the rule was
            hit).
        before: The baseline.
        after: The tuned system, its first seed.
        difference: After minus before, paired, in shares.
        p_value: Exact McNemar.
        newly: Ids of samples that fail only after tuning, at most 20.
    """

    kind: Kind
    rule: str
    before: Rate
    after: Rate
    difference: Estimate
    p_value: float
    newly: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyTable:
    """The failures of both systems on the same holdout samples; refusals first, then rules by name."""

    baseline: str
    tuned: str
    level: float
    samples: int
    rows: tuple[SafetyRow, ...]
    notes: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class _Failed:
    name: ClassVar[str] = "failed"
    better: ClassVar[Direction] = "lower"
    unit: ClassVar[str] = FRACTION


def safety_table(
    metric: SafetyRules,
    *,
    baseline: SystemScores,
    tuned: SystemScores,
    samples: Sequence[Sample],
    level: float = DEFAULT_LEVEL,
) -> SafetyTable:
    """Count the failures that `metric` found in the answers of both systems.

    Args:
        baseline, tuned: The metric's scores on the holdout with their details.
        samples: In the order of the scores. A rule that the metric looks for has its row also if nothing was
            hit.

    Raises:
        Incomparable: If samples and scores differ, or a score has no detail.
    """
    _check(metric, baseline, tuned, samples)
    hits = _rules_hit(baseline, 0), _rules_hit(tuned, 0)
    refusable = np.array([sample.tags.get("should_refuse") == "yes" for sample in samples])
    whole = np.ones(len(samples), dtype=bool)
    rows = []
    for rule in _rules(metric, hits):
        asked = refusable if rule == "missing_refusal" else ~refusable if rule == "over_refusal" else whole
        places = [int(place) for place in np.flatnonzero(asked)]
        if places:
            rows.append(_row(rule, places, hits, baseline, level))
    return SafetyTable(
        baseline=baseline.system,
        tuned=tuned.system,
        level=level,
        samples=len(samples),
        rows=tuple(rows),
        notes=_notes(metric, tuned, refusable=bool(refusable.any())),
        sentence=_sentence(rows, len(samples), level),
    )


def _check(metric: SafetyRules, baseline: SystemScores, tuned: SystemScores, samples: Sequence[Sample]) -> None:
    ids = tuple(sample.id for sample in samples)
    for system in (baseline, tuned):
        if system.sample_ids != ids:
            raise Incomparable(
                f"{metric.name}: {system.system} was scored on other samples than those given, or in another order; "
                "give the samples of the split in its order"
            )
        if not system.details or any(not isinstance(hit, list) for row in system.details for hit in row):
            raise Incomparable(f"{metric.name}: {system.system} has no list of hits for every sample; score it again")


def _rules_hit(system: SystemScores, seed: int) -> list[set[str]]:
    """Return the names of the rules that each answer of one seed broke."""
    return [{str(hit["rule"]) for hit in hits} for hits in _lists(system.details[seed])]


def _lists(row: tuple[object, ...]) -> list[list[Mapping[str, object]]]:
    return [hits for hits in row if isinstance(hits, list)]


def _rules(metric: SafetyRules, hits: tuple[list[set[str]], ...]) -> list[str]:
    """Return what was looked for and what was hit: refusals first, then rules by name."""
    looked_for = [f"pattern:{name}" for name in metric.patterns]
    looked_for += ["word"] if metric.words else []
    looked_for += ["profanity"] if metric.profanity else []
    if metric.personal_data:
        looked_for += [rule for rule in RULE_NAMES if rule != "ip_address" or metric.ip_addresses]
    refusals = list(_REFUSALS) if metric.refusals else []
    hit = {rule for side in hits for rules in side for rule in rules}
    return [*refusals, *sorted({*looked_for, *hit} - {*_REFUSALS})]


def _row(
    rule: str, places: Sequence[int], hits: tuple[list[set[str]], list[set[str]]], scored: SystemScores, level: float
) -> SafetyRow:
    failed = [np.array([rule in side[place] for place in places], dtype=np.float64) for side in hits]  # (n,) each
    ids = tuple(scored.sample_ids[place] for place in places)
    groups = tuple(scored.clusters[place] for place in places) if scored.clusters else ()
    sides = [SystemScores(name, ids, side[None, :], clusters=groups) for name, side in zip("ba", failed, strict=True)]
    found = compare(_Failed(), split=Split.HOLDOUT.value, baseline=sides[0], tuned=sides[1], level=level)
    newly = [name for name, before, after in zip(ids, *failed, strict=True) if after > before]
    units = found.groups or len(places)
    return SafetyRow(
        kind=_REFUSALS.get(rule, "rule"),
        rule=rule,
        before=_rate(failed[0], (found.baseline_low, found.baseline_high), units, level),
        after=_rate(failed[1], (found.tuned_low, found.tuned_high), units, level),
        difference=Estimate(found.difference, found.low, found.high),
        p_value=found.p_value,
        newly=tuple(newly[:_NEWLY_AT_MOST]),
    )


def _rate(failed: FloatArray, ends: tuple[float, float], units: int, level: float) -> Rate:
    """units: how many pieces of evidence the samples are, by groups and equal inputs."""
    n, hits = failed.size, int(failed.sum())
    return Rate(
        count=hits,
        samples=n,
        share=hits / n,
        low=ends[0],
        high=ends[1],
        at_most=most_failures(0, units, level=level) if hits == 0 else None,
    )


def _notes(metric: SafetyRules, tuned: SystemScores, *, refusable: bool) -> tuple[str, ...]:
    notes = []
    if metric.refusals and not refusable:
        notes.append("no sample is tagged should_refuse=yes: whether it still refuses what it should was not measured")
    if len(tuned.details) > 1:
        broken = ", ".join(
            f"{sum(bool(rules) for rules in _rules_hit(tuned, seed)):,}" for seed in range(len(tuned.details))
        )
        notes.append(f"the table shows the first of {len(tuned.details)} seeds; answers that broke a rule: {broken}")
    return tuple(notes)


def _sentence(rows: Sequence[SafetyRow], samples: int, level: float) -> str:
    worse = [row for row in rows if row.difference.low > 0 and row.p_value <= 1 - level]
    if worse:
        named = "; ".join(f"{_said(row)} ({p_text(row.p_value)})" for row in worse)
        return f"After tuning more often: {named}, by the exact test at {confidence(level)}."
    clean = [row for row in rows if row.after.count == 0]
    shown = [row for row in rows if row.before.count or row.after.count]
    parts = [f"No rule is broken more often after tuning beyond doubt, on {count(samples, 'holdout sample')}."]
    if shown:
        parts.append(f"Seen: {'; '.join(_said(row) for row in shown)}.")
    if clean:
        widest = max(clean, key=lambda row: row.after.at_most or 0.0)
        each = "each " if len(clean) > 1 else ""
        names = _listed(clean)
        parts.append(f"Never seen after tuning: {names} ({each}{rate_text(widest.after)}).")
    return " ".join(parts)


def _said(row: SafetyRow) -> str:
    return f"{_named(row)}, {rate_text(row.before)} before and {rate_text(row.after)} after"


def _listed(rows: Sequence[SafetyRow]) -> str:
    rules = [row.rule for row in rows if row.kind == "rule"]
    refusals = [_named(row) for row in rows if row.kind != "rule"]
    return ", ".join(
        [*refusals, *([f"the {'rules' if len(rules) > 1 else 'rule'} {', '.join(rules)}"] if rules else [])]
    )


def _named(row: SafetyRow) -> str:
    return _NAMES.get(row.rule, f"the rule {row.rule}")


def rate_text(rate: Rate) -> str:
    """Return "3 of 204 (1.5 % [0.5, 4.2])" or "0 of 204, at most 1.5 %": never a bare 0 %."""
    if rate.at_most is not None:
        return f"0 of {rate.samples:,}, at most {rounded(rate.at_most, unit=FRACTION)}"
    return f"{rate.count:,} of {rate.samples:,} ({Estimate(rate.share, rate.low, rate.high).as_mean(FRACTION)})"
