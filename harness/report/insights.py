"""What the evidence says beyond yes or no, as the page draws it: stored insights, slices, the interval's level.

The advice, drawn from what the store holds: what to do, each sentence with the numbers it stands on.

Why the verdict may be believed, or not, in a few lines beneath it: look and alpha, checks, noise, size, rule.

Each criterion as the page shows it: in points or in the metric's own values, and drawn against its threshold.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast

from harness.analysis.advice import advise
from harness.analysis.decision_context import Moved, Situation, Verdict
from harness.analysis.holdout_ledger import HoldoutLedger
from harness.analysis.holdout_power import EnoughEvidence
from harness.analysis.noise_floor import NoiseFloor
from harness.analysis.slices import Slice
from harness.experiment.criteria import Finding
from harness.report.draw import IntervalDrawing, draw_finding, draw_interval, symmetric_axis
from harness.report.read import (
    HOLDOUT,
    amount_or_unknown,
    amount_rounded,
    bound,
    change_or_unknown,
    change_size,
    chosen,
    difference_interval,
    findings,
    finite,
    insights_of,
    mean_interval,
    primary_comparison,
    primary_metric,
    tick,
    units_of,
)
from harness.stats.wording import amount, confidence, count
from harness.store.rows import ComparisonRow, Evidence, SliceRow
from harness.types.codec import from_json

_MOST_SLICES = 60
_MOST_NAMED = 6
_SURE = 0.05

# What a section of the page is called, in the order in which a reader wants them.
SECTIONS = {
    "curve": "More data",
    "break_even": "Payback",
    "four_way": "Four ways",
    "retention": "Retention",
    "continual": "Task after task",
    "safety": "Safety",
    "slices": "Slices",
    "ladder": "Recipes",
    "trust": "Trust",
}
_TRUST = ("evidence", "noise", "ledger", "sequential", "trainings", "preference")
# Whose sentences are told beside the verdict, in this order.
_TOLD = (
    *("curve", "break_even", "four_way", "retention", "safety", "ladder"),
    *("evidence", "ledger", "sequential", "trainings", "preference"),
    *("noise", "continual", "fitting", "endings"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceLine:
    """One part of the holdout. sure: the difference stands after the correction for all slices."""

    value: str
    samples: int
    baseline_mean: float | None
    tuned_mean: float | None
    difference: str
    drawing: IntervalDrawing | None
    q_value: float | None
    sure: bool
    helps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTable:
    """One metric's slices by dimension; more: how many were left out."""

    metric: str
    better: str
    dimensions: tuple[tuple[str, tuple[SliceLine, ...]], ...]
    tested: int
    more: int
    summary: str


def sections_of(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """Return (id, title) of the sections for which something is stored."""
    stored = insights_of(evidence)
    present = {field.name for field in fields(stored) if getattr(stored, field.name)}
    if evidence.slices:
        present.add("slices")
    if present & set(_TRUST):
        present.add("trust")
    return tuple((kind, title) for kind, title in SECTIONS.items() if kind in present)


def sentences(evidence: Evidence) -> dict[str, Any]:
    """Return what each insight says, by kind: for verdicts.json and the summaries."""
    stored, said = insights_of(evidence), {}
    for kind in _TOLD:
        found = getattr(stored, kind)
        said[kind] = [one.sentence for one in found] if isinstance(found, tuple) else found and found.sentence
    return {kind: told for kind, told in said.items() if told}


def verdict_level(evidence: Evidence) -> float:
    """Return the confidence of the intervals that the verdict stands on."""
    return next((row.level for row in evidence.comparisons if row.split == HOLDOUT), 0.95)


def level_text(evidence: Evidence) -> str:
    return confidence(verdict_level(evidence))


def levels_note(evidence: Evidence) -> str:
    """Return at which confidence the page's intervals hold, in a sentence."""
    shown = level_text(evidence)
    if shown == confidence(0.95):
        return f"Intervals hold {shown}."
    return f"Intervals of the verdict hold {shown}, since this holdout was seen before; all others {confidence(0.95)}."


def slice_tables(evidence: Evidence) -> tuple[SliceTable, ...]:
    """Return one table a metric, that of the verdict first."""
    by_metric: dict[str, list[SliceRow]] = {}
    for row in evidence.slices:
        by_metric.setdefault(row.metric, []).append(row)
    primary, units = primary_metric(evidence), units_of(evidence)
    better = {row.metric: row.better for row in evidence.comparisons if row.split == HOLDOUT}
    return tuple(
        _slice_table(metric, by_metric[metric], better=better.get(metric, "higher"), unit=units.get(metric, ""))
        for metric in sorted(by_metric, key=lambda metric: metric != primary)
    )


def _slice_table(metric: str, rows: Sequence[SliceRow], *, better: str, unit: str) -> SliceTable:
    shown = sorted(rows, key=lambda row: row.position)[:_MOST_SLICES]
    axis = symmetric_axis(finite(end) for row in shown for end in (row.low, row.difference, row.high))
    dimensions: dict[str, list[SliceLine]] = {}
    for row in shown:
        difference, low, high = finite(row.difference), finite(row.low), finite(row.high)
        tested = low is not None or high is not None
        line = SliceLine(
            value=row.value,
            samples=row.samples,
            baseline_mean=finite(row.baseline_mean),
            tuned_mean=finite(row.tuned_mean),
            difference=difference_interval(difference, low, high, unit)
            if tested
            else change_or_unknown(difference, unit),
            drawing=draw_interval(axis, low, difference, high) if tested else None,
            q_value=finite(row.q_value),
            sure=row.q_value is not None and row.q_value < _SURE,
            helps=difference is not None and (difference > 0) == (better == "higher"),
        )
        dimensions.setdefault(row.dimension, []).append(line)
    lines = [line for group in dimensions.values() for line in group]
    return SliceTable(
        metric=metric,
        better=better,
        dimensions=tuple((name, tuple(group)) for name, group in dimensions.items()),
        tested=sum(row.q_value is not None for row in rows),
        more=len(rows) - len(shown),
        summary=_summary(lines),
    )


def _summary(lines: Sequence[SliceLine]) -> str:
    sure = [line for line in lines if line.sure]
    if not sure:
        return "After correction for the number of slices, no slice stands out on its own."
    helped = [line.value for line in sure if line.helps]
    hurt = [line.value for line in sure if not line.helps]
    parts = [f"{word} on {_listed(names)}" for word, names in (("helps", helped), ("hurts", hurt)) if names]
    return f"After correction for the number of slices, tuning {' and '.join(parts)}."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more slices"


TITLES = {"GO": "GO", "NO_GO": "NO-GO", "INCONCLUSIVE": "INCONCLUSIVE", "INVALID": "INVALID"}


def advice(evidence: Evidence) -> str:
    """Return what to do, in one sentence that names the systems."""
    return paragraph(evidence)[0]


def paragraph(evidence: Evidence) -> tuple[str, ...]:
    """Return what to do, one sentence an entry; the first says the most."""
    return advise(situation(evidence))


def situation(evidence: Evidence) -> Situation:
    """Return what advice is drawn from: decision, primary metric, insights, slices, checks."""
    baseline, tuned = chosen(evidence, "baseline"), chosen(evidence, "tuned")
    row, decision, units = primary_comparison(evidence), evidence.decision, units_of(evidence)
    return Situation(
        verdict=cast("Verdict", decision.verdict),
        baseline=baseline.system if baseline else row.baseline if row else "the best baseline",
        tuned=tuned.system if tuned else None,
        post_hoc=decision.post_hoc,
        baseline_retrieves=baseline is not None and baseline.retrieves,
        tuned_retrieves=tuned is not None and tuned.retrieves,
        moved=_moved(row, units) if row else None,
        findings=[replace(found, unit=units.get(found.metric, found.unit)) for found in findings(evidence)],
        insights=insights_of(evidence),
        slices=[from_json(Slice, asdict(row)) for row in evidence.slices if row.difference is not None],
        checks=[row.check for row in evidence.checks],
        samples=Counter(row.split for row in evidence.samples),
    )


def _moved(row: ComparisonRow, units: dict[str, str]) -> Moved | None:
    if row.difference is None or row.baseline_mean is None or row.tuned_mean is None:
        return None
    return Moved(
        metric=row.metric,
        better=row.better,
        unit=units.get(row.metric, ""),
        baseline_mean=row.baseline_mean,
        tuned_mean=row.tuned_mean,
        difference=row.difference,
        low=_end(row.low, -math.inf),
        high=_end(row.high, math.inf),
        samples=row.samples,
    )


def _end(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Assurance:
    """target: the id of the section that says more, with the words of the link to it."""

    status: Literal["ok", "warning", "invalid"]
    title: str
    text: str
    target: str = ""
    link: str = ""


def assurances(evidence: Evidence) -> tuple[Assurance, ...]:
    """Return what is known, most important first; what was not looked at is absent."""
    stored = insights_of(evidence)
    found = (
        _checks(evidence),
        _look(stored.ledger),
        _noise(evidence, stored.noise),
        _trainings(evidence),
        _size(stored.evidence),
    )
    return tuple(line for line in found if line is not None)


def _checks(evidence: Evidence) -> Assurance | None:
    if not evidence.checks:
        return None
    kinds = Counter[str](row.kind for row in evidence.checks)
    what = ", ".join(f"{kinds[kind]} of {kind}" for kind in ("readiness", "data", "protocol") if kinds[kind])
    statuses = Counter[str](row.status for row in evidence.checks)
    parts = [
        count(statuses[status], noun) if status != "invalid" else f"{statuses[status]} invalid"
        for status, noun in (("invalid", ""), ("warning", "warning"))
        if statuses[status]
    ]
    return Assurance(
        status="invalid" if statuses["invalid"] else "warning" if statuses["warning"] else "ok",
        title=f"{count(len(evidence.checks), 'check')}, {' and '.join(parts) if parts else 'all passed'}:",
        text=f"{what}.",
        target="data",
        link="Read them",
    )


def _look(ledger: HoldoutLedger | None) -> Assurance | None:
    if ledger is None:
        return None
    look, level = ledger.look, confidence(ledger.level)
    spent, total = amount_rounded(ledger.spent, "%"), amount(ledger.total, unit="%")
    if look == 1:
        return Assurance(
            status="ok",
            title="First look at this holdout:",
            text=f"its interval is at {level}; {spent} of the {total} chance of a false GO is spent.",
            target="trust",
            link="Ledger",
        )
    return Assurance(
        status="warning",
        title=f"Look {look} at this holdout:",
        text=f"{count(look - 1, 'other candidate')} came first, so its interval is at {level}; "
        f"{spent} of the {total} chance of a false GO is spent.",
        target="trust",
        link="Ledger",
    )


def _noise(evidence: Evidence, floors: Sequence[NoiseFloor]) -> Assurance | None:
    row = primary_comparison(evidence)
    found = next((floor for floor in floors if row and floor.metric == row.metric and floor.reruns), None)
    difference = finite(row.difference) if row else None
    if found is None or difference is None or row is None:
        return None
    shown = bound(found.floor, units_of(evidence).get(row.metric, ""))
    inside = abs(difference) <= found.floor
    return Assurance(
        status="warning" if inside else "ok",
        title="The difference is within the noise:" if inside else "The difference is beyond the noise:",
        text=f"asking again moves {row.metric} by {shown} at most."
        if found.floor
        else "asking again changed no score.",
        target="trust",
        link="Noise",
    )


def _trainings(evidence: Evidence) -> Assurance | None:
    row = primary_comparison(evidence)
    if row is None or row.seeds > 1:
        return None
    return Assurance(
        status="warning",
        title="Training variance was not measured:",
        text="one seed stands for the recipe; seeds=(0, 1, 2) trains it three times.",
    )


def _size(power: EnoughEvidence | None) -> Assurance | None:
    if power is None:
        return None
    detectable = change_size(power.detectable, power.unit)
    return Assurance(
        status="ok" if power.enough else "warning",
        title="The holdout is large enough:" if power.enough else "The holdout is small for what is asked:",
        text=f"with n = {power.samples:,} it shows a true difference of {detectable} in four runs of five.",
        target="trust",
        link="Size",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionView:
    """finding: as stored. measured, threshold: as text. ticks: (position in percent, label)."""

    finding: Finding
    measured: str
    threshold: str
    drawing: IntervalDrawing | None
    ticks: tuple[tuple[float, str], ...]


def criterion_views(evidence: Evidence) -> tuple[CriterionView, ...]:
    """Return the criteria and guards of the latest decision, in their stored order."""
    units = units_of(evidence)
    return tuple(_view(finding, units.get(finding.metric, finding.unit)) for finding in findings(evidence))


def _view(finding: Finding, unit: str) -> CriterionView:
    differs = finding.about == "difference"
    label, tick_label = (change_or_unknown, tick) if differs else (amount_or_unknown, amount_or_unknown)
    shown = difference_interval if differs else mean_interval
    drawing = draw_finding(finding)
    return CriterionView(
        finding=finding,
        measured=shown(finite(finding.value), finding.low, finding.high, unit),
        threshold=label(finite(finding.threshold), unit),
        drawing=drawing,
        ticks=tuple((position, tick_label(place, unit)) for position, place in drawing.ticks) if drawing else (),
    )
