"""Why the verdict may be believed, or not, in a few lines beneath it: look and alpha, checks, noise, size, rule."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from harness.report.insights import insights_of
from harness.report.numbers import bound, change_size, units_of
from harness.report.reading import finite, primary_comparison
from harness.stats.wording import amount, confidence, count
from harness.store.rows import Evidence

_CHECKED = {"readiness": "readiness", "data": "data", "protocol": "protocol"}


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
        _look(stored.get("ledger")),
        _noise(evidence, stored["noise"]),
        _trainings(evidence),
        _size(stored.get("evidence")),
    )
    return tuple(line for line in found if line is not None)


def _checks(evidence: Evidence) -> Assurance | None:
    if not evidence.checks:
        return None
    kinds = Counter(row.kind for row in evidence.checks)
    what = ", ".join(f"{kinds[kind]} of {said}" for kind, said in _CHECKED.items() if kinds[kind])
    statuses = Counter(row.status for row in evidence.checks)
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


def _look(ledger: Any) -> Assurance | None:
    if not ledger:
        return None
    look, level = int(ledger["look"]), confidence(float(ledger["level"]))
    spent = amount(float(f"{float(ledger['spent']):.2g}"), unit="%")
    total = amount(float(ledger["total"]), unit="%")
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


def _noise(evidence: Evidence, floors: list[Any]) -> Assurance | None:
    row = primary_comparison(evidence)
    found = next((floor for floor in floors if row and floor["metric"] == row.metric and floor["reruns"]), None)
    difference = finite(row.difference) if row else None
    if found is None or difference is None or row is None:
        return None
    shown = bound(found["floor"], units_of(evidence).get(row.metric, ""))
    inside = abs(difference) <= found["floor"]
    return Assurance(
        status="warning" if inside else "ok",
        title="The difference is within the noise:" if inside else "The difference is beyond the noise:",
        text=f"asking again moves {row.metric} by {shown} at most."
        if found["floor"]
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


def _size(power: Any) -> Assurance | None:
    if not power:
        return None
    detectable = change_size(power["detectable"], power["unit"])
    return Assurance(
        status="ok" if power["enough"] else "warning",
        title="The holdout is large enough:" if power["enough"] else "The holdout is small for what is asked:",
        text=f"with n = {power['samples']:,} it shows a true difference of {detectable} in four runs of five.",
        target="trust",
        link="Size",
    )
