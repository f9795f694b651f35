"""The advice, drawn from what the store holds: what to do, each sentence with the numbers it stands on."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal, cast

from harness.findings import Finding
from harness.insights.advice import advise
from harness.insights.situation import Content, Moved, Situation, Verdict
from harness.insights.slices import Slice
from harness.protocols import Direction
from harness.report.numbers import units_of
from harness.report.reading import FindingView, chosen, findings, primary_comparison
from harness.samples import Check
from harness.store.rows import ComparisonRow, Evidence, SliceRow, SystemRow

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
    insights: dict[str, list[Content]] = {}
    for insight in evidence.insights:
        insights.setdefault(insight.kind, []).append(cast("Content", insight.content))
    return Situation(
        verdict=cast("Verdict", decision.verdict),
        baseline=baseline.system if baseline else row.baseline if row else "the best baseline",
        tuned=tuned.system if tuned else None,
        post_hoc=decision.post_hoc,
        baseline_retrieves=_retrieves(baseline),
        tuned_retrieves=_retrieves(tuned),
        moved=_moved(row, units) if row else None,
        findings=[_finding(found, units) for found in findings(decision.findings)],
        insights=insights,
        slices=list(_slices(evidence.slices)),
        checks=list(_checks(evidence)),
        samples=Counter(row.split for row in evidence.samples),
    )


def _retrieves(system: SystemRow | None) -> bool:
    if system is None:
        return False
    said = f"{system.system} {system.description}".lower()
    # Every few-shot baseline names a retriever; only the nearest shots are looked up with it.
    return "rag" in re.findall("[a-z]+", said) or "select='nearest'" in said


def _moved(row: ComparisonRow, units: dict[str, str]) -> Moved | None:
    if row.difference is None or row.baseline_mean is None or row.tuned_mean is None:
        return None
    return Moved(
        metric=row.metric,
        better=cast("Direction", row.better),
        unit=units.get(row.metric, ""),
        baseline_mean=row.baseline_mean,
        tuned_mean=row.tuned_mean,
        difference=row.difference,
        low=_end(row.low, -math.inf),
        high=_end(row.high, math.inf),
        samples=row.samples,
    )


def _finding(found: FindingView, units: dict[str, str]) -> Finding:
    return Finding(
        criterion=found.criterion,
        metric=found.metric,
        status=found.status,
        value=_end(found.value, math.inf),
        low=_end(found.low, -math.inf),
        high=_end(found.high, math.inf),
        threshold=_end(found.threshold, math.inf),
        sentence=found.sentence,
        needed_samples=found.needed_samples,
        good_side=found.good_side or "above",
        unit=units.get(found.metric, found.unit or ""),
    )


def _slices(rows: tuple[SliceRow, ...]) -> Iterator[Slice]:
    for row in rows:
        if row.difference is None or row.baseline_mean is None or row.tuned_mean is None:
            continue
        yield Slice(
            metric=row.metric,
            dimension=row.dimension,
            value=row.value,
            position=row.position,
            samples=row.samples,
            baseline_mean=row.baseline_mean,
            tuned_mean=row.tuned_mean,
            difference=row.difference,
            low=row.low,
            high=row.high,
            p_value=row.p_value,
            q_value=row.q_value,
        )


def _checks(evidence: Evidence) -> Iterator[Check]:
    for row in evidence.checks:
        yield Check(
            name=row.name,
            status=cast("Literal['ok', 'warning', 'invalid']", row.status),
            detail=row.detail,
            items=tuple(row.items) if isinstance(row.items, list | tuple) else (),
            kind=cast("Literal['data', 'protocol', 'readiness']", row.kind),
        )


def _end(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
