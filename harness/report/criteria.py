"""Each criterion as the page shows it: in points or in the metric's own values, and drawn against its threshold."""

from dataclasses import dataclass

from harness.report.drawing import IntervalDrawing, draw_finding
from harness.report.numbers import (
    amount_or_unknown,
    change_or_unknown,
    difference_interval,
    mean_interval,
    tick,
    units_of,
)
from harness.report.reading import FindingView, findings, primary_comparison
from harness.store.rows import ComparisonRow, Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionView:
    """finding: as stored. measured, threshold: as text. ticks: (position in percent, label)."""

    finding: FindingView
    measured: str
    threshold: str
    drawing: IntervalDrawing | None
    ticks: tuple[tuple[float, str], ...]


def criterion_views(evidence: Evidence) -> tuple[CriterionView, ...]:
    """Return the criteria and guards of the latest decision, in their stored order."""
    units = units_of(evidence)
    rows = {row.metric: row for row in evidence.comparisons if row.split == "holdout"}
    if (primary := primary_comparison(evidence)) is not None:
        rows[primary.metric] = primary
    return tuple(
        _view(finding, rows.get(finding.metric), units.get(finding.metric, finding.unit or ""))
        for finding in findings(evidence.decision.findings)
    )


def _view(finding: FindingView, row: ComparisonRow | None, unit: str) -> CriterionView:
    absolute = _is_absolute(finding, row)
    bounds = (finding.value, finding.low, finding.high, unit)
    label, tick_label = (amount_or_unknown, amount_or_unknown) if absolute else (change_or_unknown, tick)
    drawing = draw_finding(finding, good_is_above=_good_is_above(finding, row, absolute=absolute))
    return CriterionView(
        finding=finding,
        measured=mean_interval(*bounds) if absolute else difference_interval(*bounds),
        threshold=label(finding.threshold, unit),
        drawing=drawing,
        ticks=tuple((position, tick_label(place, unit)) for position, place in drawing.ticks) if drawing else (),
    )


def _is_absolute(finding: FindingView, row: ComparisonRow | None) -> bool:
    """Say whether the criterion looks at the tuned mean itself, not at its difference from the baseline."""
    if row is None:
        return True
    if finding.value is None or row.difference is None or row.tuned_mean is None:
        return False
    apart = min(abs(finding.value - row.difference), abs(finding.value + row.difference))
    return abs(finding.value - row.tuned_mean) < apart


def _good_is_above(finding: FindingView, row: ComparisonRow | None, *, absolute: bool) -> bool:
    """Say on which side of the threshold the criterion is met, where the finding does not say it itself.

    A decided finding shows it: its interval lies there when met and opposite when failed. For an open one it is the
    metric's better side, unless the stored value is the difference with its sign turned, so that more is better.
    """
    if finding.good_side is not None:
        return finding.good_side == "above"
    ends = [end for end in (finding.low, finding.high) if end is not None]
    if finding.status != "open" and ends and finding.threshold is not None:
        interval_is_above = sum(ends) / len(ends) >= finding.threshold
        return interval_is_above if finding.status == "met" else not interval_is_above
    if row is None or row.better == "higher":
        return True
    turned = finding.value is not None and row.difference is not None and finding.value == -row.difference
    return turned and not absolute
