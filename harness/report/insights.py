"""What the evidence says beyond yes or no, as the page draws it: stored insights, slices, the interval's level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.drawing import IntervalDrawing, draw_interval, symmetric_axis
from harness.report.numbers import change_or_unknown, difference_interval, units_of
from harness.report.reading import HOLDOUT, finite, primary_metric
from harness.stats.wording import confidence
from harness.store.rows import Evidence, SliceRow

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
_SEVERAL = ("noise", "continual", "fitting", "endings")  # one a metric, a recipe, a training, a system
_TRUST = ("evidence", "noise", "ledger", "sequential", "trainings", "preference")


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


def insights_of(evidence: Evidence) -> dict[str, Any]:
    """Return the stored contents by kind, None where there is none; what comes several times is a list."""
    found: dict[str, Any] = {**dict.fromkeys((*SECTIONS, *_TRUST)), **{kind: [] for kind in _SEVERAL}}
    for row in evidence.insights:
        if row.kind in _SEVERAL:
            found[row.kind].append(row.content)
        elif isinstance(row.content, Mapping):
            found[row.kind] = row.content
    return found


def sections_of(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """Return (id, title) of the sections for which something is stored."""
    stored = insights_of(evidence)
    present = {kind for kind, content in stored.items() if content}
    if evidence.slices:
        present.add("slices")
    if present & set(_TRUST):
        present.add("trust")
    return tuple((kind, title) for kind, title in SECTIONS.items() if kind in present)


def sentences(evidence: Evidence) -> dict[str, Any]:
    """Return what each insight says, by kind: for verdicts.json and the summaries."""
    stored = insights_of(evidence)
    several = {kind: [content["sentence"] for content in stored.pop(kind)] for kind in _SEVERAL}
    said = {kind: content["sentence"] for kind, content in stored.items() if content and content.get("sentence")}
    return said | {kind: lines for kind, lines in several.items() if lines}


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
