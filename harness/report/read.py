"""Numbers and times as the templates write them; means and differences go through `harness.stats.wording`.

What the page asks of the evidence: findings, the chosen pair, the primary metric. Nothing is computed here.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from harness.analysis.estimate import Estimate
from harness.analysis.insights import Insights, stored_insights
from harness.experiment.criteria import Finding
from harness.experiment.declaration import Declaration
from harness.stats.wording import (
    FRACTION,
    about,
    amount,
    change,
    confidence,
    count,
    difference_text,
    mean_text,
    p_text,
    rounded,
    sample_count,
    span,
)
from harness.store.rows import ComparisonRow, Evidence, ExperimentStageRow, SystemRow
from harness.types.codec import from_json
from harness.types.protocols import Direction

HOLDOUT = "holdout"
DEV = "dev"
GUARD = "guard"


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Return the findings of the latest decision, in their stored order."""
    rows, about = evidence.decision.findings, evidence.decision.about
    found = [from_json(Finding, row) for row in rows] if isinstance(rows, list | tuple) else []
    told = about if isinstance(about, list | tuple) and about else [one.about for one in found]
    return tuple(replace(one, about=what) for one, what in zip(found, told, strict=True))


def chosen(evidence: Evidence, role: str) -> SystemRow | None:
    """Return the system of `role` ("baseline", "tuned") that was selected on DEV, or None if none was."""
    return next((row for row in evidence.systems if row.role == role and row.chosen), None)


def primary_metric(evidence: Evidence) -> str | None:
    """Return the metric of the first criterion on a measured difference, else the first metric that was compared.

    A criterion on costs has none. Where nothing was compared it is that of the first criterion or of the first mean.
    """
    compared = [row.metric for row in evidence.comparisons if not row.guard]
    judged = [finding.metric for finding in findings(evidence)]
    measured = [row.metric for row in evidence.system_means]
    ranked = (*(metric for metric in judged if metric in compared), *compared, *judged, *measured)
    return next(iter(ranked), None)


def primary_comparison(evidence: Evidence) -> ComparisonRow | None:
    """Return the holdout comparison of the chosen pair on the primary metric, or None if it was not measured."""
    metric = primary_metric(evidence)
    rows = [row for row in evidence.comparisons if row.split == HOLDOUT and row.metric == metric]
    return next((row for row in rows if _is_chosen_pair(evidence, row)), rows[0] if rows else None)


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


def directions(evidence: Evidence) -> Mapping[str, Direction]:
    """Return "higher" or "lower" for each metric measured."""
    means = {row.metric: row.better for row in evidence.system_means}
    return means | {row.metric: row.better for row in evidence.comparisons}


def declaration(evidence: Evidence) -> Declaration:
    return from_json(Declaration, evidence.experiment.declaration)


def insights_of(evidence: Evidence) -> Insights:
    """Return the stored insights as the classes that made them."""
    return stored_insights((row.kind, row.content) for row in evidence.insights)


def finite(value: object) -> float | None:
    """Return a number that can be drawn, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _is_chosen_pair(evidence: Evidence, row: ComparisonRow) -> bool:
    baseline, tuned = chosen(evidence, "baseline"), chosen(evidence, "tuned")
    return bool(baseline and tuned and (row.baseline, row.tuned) == (baseline.system, tuned.system))


UNKNOWN = "–"

_MINUTE, _HOUR = 60, 3600


def units_of(evidence: Evidence) -> dict[str, str]:
    """Return the unit of every metric measured, as it was compared in.

    Of one that no declaration or finding tells of, more is taken for a fraction if its means are.
    """
    # A criterion of one's own need not know a unit; the declaration holds the one that was compared in.
    stated = {found.metric: found.unit for found in findings(evidence) if found.unit}
    stated |= declaration(evidence).units
    means = [(row.metric, row.better, row.mean) for row in evidence.system_means]
    means += [
        (row.metric, row.better, mean) for row in evidence.comparisons for mean in (row.baseline_mean, row.tuned_mean)
    ]
    guessed = dict.fromkeys((metric for metric, _, _ in means), FRACTION)
    guessed |= {
        metric: "" for metric, better, mean in means if better == "lower" or not (mean is None or 0 <= mean <= 1)
    }
    return {metric: stated.get(metric, unit) for metric, unit in guessed.items()}


def amount_or_unknown(value: float | None, unit: str = "") -> str:
    return UNKNOWN if value is None else amount(value, unit=unit)


def score(value: float | None, unit: str = "") -> str:
    """Return a sample's score, "+∞" and such included, with at most three decimals."""
    return UNKNOWN if value is None else amount(round(value, 5 if unit == FRACTION else 3), unit=unit)


def tick(value: float, unit: str = "") -> str:
    """Return the label of a place on an axis of differences; zero needs no sign or unit."""
    return "0" if value == 0 else change(value, unit=unit)


def change_or_unknown(value: float | None, unit: str = "") -> str:
    return UNKNOWN if value is None else change(value, unit=unit)


def mean_interval(mean: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """Return a mean with its interval; a missing bound is open."""
    return UNKNOWN if mean is None else mean_text(mean, *_bounds(low, high), unit=unit)


def difference_interval(difference: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """Return a difference with its interval; a missing bound is open."""
    return UNKNOWN if difference is None else difference_text(difference, *_bounds(low, high), unit=unit)


def estimate(found: Estimate | None, unit: str = "") -> str:
    """Return an estimate of a mean or share with its interval."""
    return UNKNOWN if found is None or not math.isfinite(found.value) else found.as_mean(unit)


def shift(found: Estimate | None, unit: str = "") -> str:
    """Return an estimate of a difference with its interval."""
    return UNKNOWN if found is None or not math.isfinite(found.value) else found.as_difference(unit)


def reach(found: Estimate | None) -> str:
    """Return a count that may be infinite, such as requests until payback."""
    if found is None:
        return UNKNOWN
    if math.isinf(found.value):
        return "not in reach" if math.isinf(found.low) else f"not in reach (at best {about(found.low)})"
    return about(found.value) + span(about(found.low), about(found.high))


def p_or_unknown(value: float | None) -> str:
    return UNKNOWN if value is None else p_text(value)


def whole(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """Return "0.42 s", "38 s", "4 min 05 s" or "2 h 10 min"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < _MINUTE:
        return f"{rounded} s"
    if rounded < _HOUR:
        return f"{rounded // _MINUTE} min {rounded % _MINUTE:02d} s"
    return f"{rounded // _HOUR} h {rounded % _HOUR // _MINUTE:02d} min"


def size(value: int | None) -> str:
    """Return "512 MB" or "1.42 GB", in powers of ten."""
    if value is None:
        return UNKNOWN
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def money(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.2g}"


def moment(when: datetime) -> str:
    """Return a stored time; every time in the store is UTC."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


def part_of(part: int | None, total: int | None) -> str:
    """Return "4,884,480 (3.5 %)", a count and its share of a total where that is known."""
    if part is None or not total:
        return UNKNOWN if part is None else whole(part)
    return f"{whole(part)} ({'all' if part >= total else f'{100 * part / total:.2g} %'})"


def rounded_or_unknown(value: float | None, unit: str = "") -> str:
    return UNKNOWN if value is None else rounded(value, unit=unit)


def main_part(text: str) -> str:
    """Return "83.4 %" of "83.4 % [81.2, 85.5]": the page writes the two in two sizes."""
    return text.partition(" [")[0]


def range_part(text: str) -> str:
    """Return "[81.2, 85.5]" of "83.4 % [81.2, 85.5]"."""
    return "".join(text.partition("[")[1:])


def q_or_unknown(value: float | None) -> str:
    """Return "0.012" or "< 0.001": a p-value that was corrected for many tests."""
    return UNKNOWN if value is None else p_text(value).removeprefix("p ").removeprefix("= ")


def change_size(value: float, unit: str = "") -> str:
    """Return the size of a margin or a floor, such as "2.0 pts", with two digits."""
    return change(float(f"{value:.2g}"), unit=unit, sign=False)


def bound(value: float, unit: str = "") -> str:
    """Return the size of a floor, such as "2.5 pts", with two digits, rounded up."""
    digits = 1 - math.floor(math.log10(value)) if value > 0 else 0
    return change(
        round(math.ceil(round(value * 10.0**digits, 6)) / 10.0**digits, max(digits, 0)), unit=unit, sign=False
    )


def amount_rounded(value: float, unit: str = "") -> str:
    """Return a bound with two digits, such as "0.75 %"."""
    return amount(float(f"{value:.2g}"), unit=unit)


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:].removesuffix(".")


def pre(text: str) -> str:
    """Return text for a pre element, which swallows one newline at its start."""
    return f"\n{text}" if text.startswith("\n") else text


def one_line(text: str) -> str:
    return " ".join(text[:400].split())[:200]


def lines(value: object) -> str:
    """Return a sentence, or several a line each."""
    return "\n".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


FILTERS: dict[str, Callable[..., str]] = {
    "amount": amount_or_unknown,
    "amount_rounded": amount_rounded,
    "bound": bound,
    "capitalised": capitalised,
    "change": change_or_unknown,
    "change_size": change_size,
    "confidence": confidence,
    "counted": count,
    "duration": duration,
    "estimate": estimate,
    "lines": lines,
    "main_part": main_part,
    "moment": moment,
    "money": money,
    "one_line": one_line,
    "range_part": range_part,
    "rounded": rounded_or_unknown,
    "p_value": p_or_unknown,
    "q_value": q_or_unknown,
    "pre": pre,
    "reach": reach,
    "sample_count": sample_count,
    "score": score,
    "shift": shift,
    "size": size,
    "whole": whole,
}


def _bounds(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high
