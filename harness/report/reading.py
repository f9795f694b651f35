"""What the page asks of the evidence: findings, the chosen pair, the primary metric. Nothing is computed here."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.store.rows import ComparisonRow, Evidence, ExperimentStageRow, SystemRow

HOLDOUT = "holdout"
DEV = "dev"
GUARD = "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView:
    """One stored finding. A bound that is missing or not finite is None."""

    criterion: str
    metric: str
    status: Literal["met", "failed", "open"]
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    sentence: str
    needed_samples: int | None
    good_side: Literal["above", "below"] | None
    unit: str | None


def findings(rows: object) -> tuple[FindingView, ...]:
    """Return the findings of a decision row's JSON column, in their stored order."""
    if not isinstance(rows, list | tuple):
        return ()
    return tuple(_finding(row) for row in rows if isinstance(row, Mapping))


def chosen(evidence: Evidence, role: str) -> SystemRow | None:
    """Return the system of `role` ("baseline", "tuned") that was selected on DEV, or None where none was."""
    return next((row for row in evidence.systems if row.role == role and row.chosen), None)


def primary_metric(evidence: Evidence) -> str | None:
    """Return the metric of the first criterion on a measured difference, else the first metric that was compared.

    A criterion on costs has none. Where nothing was compared it is that of the first criterion or of the first mean.
    """
    compared = [row.metric for row in evidence.comparisons if not is_guard(row.metric)]
    judged = [finding.metric for finding in findings(evidence.decision.findings)]
    measured = [row.metric for row in evidence.system_means]
    ranked = (*(metric for metric in judged if metric in compared), *compared, *judged, *measured)
    return next(iter(ranked), None)


def primary_comparison(evidence: Evidence) -> ComparisonRow | None:
    """Return the holdout comparison of the chosen pair on the primary metric, or None where it was not measured."""
    metric = primary_metric(evidence)
    rows = [row for row in evidence.comparisons if row.split == HOLDOUT and row.metric == metric]
    return next((row for row in rows if _is_chosen_pair(evidence, row)), rows[0] if rows else None)


def is_guard(metric: str) -> bool:
    """Say whether this is the metric of a second task: its name is "task: metric"."""
    return ": " in metric


def main_stages(evidence: Evidence) -> tuple[ExperimentStageRow, ...]:
    """Return the stages that answer the experiment's own task.

    A guard's stages bear the same system and split, and their sample ids may be the same too; but only answers to
    the experiment's own task have scores a sample.
    """
    scored = {row.stage_key for row in evidence.scores if row.split != GUARD}
    guarding = {row.stage_key for row in evidence.scores if row.split == GUARD} - scored
    places = Counter((row.system, row.kind, row.split, row.seed) for row in evidence.memberships)
    return tuple(
        row
        for row in evidence.memberships
        if row.kind in ("answer", "likelihood")
        and row.stage_key not in guarding
        and (row.stage_key in scored or places[row.system, row.kind, row.split, row.seed] == 1)
    )


def directions(evidence: Evidence) -> dict[str, str]:
    """Return "higher" or "lower" for each metric measured."""
    means = {row.metric: row.better for row in evidence.system_means}
    return means | {row.metric: row.better for row in evidence.comparisons}


def declaration(evidence: Evidence) -> Mapping[str, object]:
    """Return the stored declaration, empty where the store holds none."""
    stored = evidence.experiment.declaration
    return stored if isinstance(stored, Mapping) else {}


def insight(evidence: Evidence, kind: str) -> Mapping[str, Any] | None:
    """Return the stored content of the insight of this kind, or None where there is none."""
    found = next((row.content for row in evidence.insights if row.kind == kind), None)
    return found if isinstance(found, Mapping) else None


def plain(value: object) -> Any:
    """Return `value` with numbers that JSON lacks (infinite, not a number) as None, and tuples as lists."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return finite(value) if isinstance(value, float) else value


def finite(value: object) -> float | None:
    """Return a number that can be drawn, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _finding(row: Mapping[str, object]) -> FindingView:
    needed = row.get("needed_samples")
    return FindingView(
        criterion=str(row.get("criterion", "")),
        metric=str(row.get("metric", "")),
        status=_status(row.get("status")),
        value=finite(row.get("value")),
        low=finite(row.get("low")),
        high=finite(row.get("high")),
        threshold=finite(row.get("threshold")),
        sentence=str(row.get("sentence", "")),
        needed_samples=needed if isinstance(needed, int) else None,
        good_side=_side(row.get("good_side")),
        unit=unit if isinstance(unit := row.get("unit"), str) else None,
    )


def _status(stored: object) -> Literal["met", "failed", "open"]:
    if stored == "met":
        return "met"
    return "failed" if stored == "failed" else "open"


def _side(stored: object) -> Literal["above", "below"] | None:
    if stored == "above":
        return "above"
    return "below" if stored == "below" else None


def _is_chosen_pair(evidence: Evidence, row: ComparisonRow) -> bool:
    baseline, tuned = chosen(evidence, "baseline"), chosen(evidence, "tuned")
    return bool(baseline and tuned and (row.baseline, row.tuned) == (baseline.system, tuned.system))
