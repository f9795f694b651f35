"""Every experiment in one table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from harness.report.advice import TITLES, advice
from harness.report.drawing import IntervalDrawing, draw_interval, symmetric_axis
from harness.report.numbers import difference_interval, units_of
from harness.report.reading import finite, primary_comparison
from harness.report.spending import all_tokens, training_cost
from harness.report.templating import render
from harness.store.rows import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line of the index. metric, gain and drawing are None where nothing was tuned and compared."""

    experiment: str
    question: str
    verdict: str
    advice: str
    post_hoc: bool
    known_negative: bool
    metric: str | None
    better: str | None
    gain: str | None
    samples: int
    seeds: int
    drawing: IntervalDrawing | None
    training_seconds: float
    tokens: int
    decided_at: datetime

    @property
    def title(self) -> str:
        return TITLES.get(self.verdict, self.verdict)

    @property
    def page(self) -> str:
        return f"{self.experiment}.html"


def summarise(evidence: Evidence) -> Summary:
    """Return the index line of one experiment."""
    row, decision = primary_comparison(evidence), evidence.decision
    gain, drawing = None, None
    if row is not None and (difference := finite(row.difference)) is not None:
        low, high = finite(row.low), finite(row.high)
        unit = units_of(evidence).get(row.metric, "")
        gain = difference_interval(difference, low, high, unit)
        drawing = draw_interval(symmetric_axis((low, difference, high)), low, difference, high)
    return Summary(
        experiment=evidence.experiment.name,
        question=evidence.experiment.question,
        verdict=decision.verdict,
        advice=advice(evidence),
        post_hoc=decision.post_hoc,
        known_negative=decision.known_negative,
        metric=row.metric if row else None,
        better=row.better if row else None,
        gain=gain,
        samples=row.samples if row else 0,
        seeds=row.seeds if row else 0,
        drawing=drawing,
        training_seconds=training_cost(evidence).total,
        tokens=all_tokens(evidence),
        decided_at=decision.decided_at,
    )


def summary_as_json(summary: Summary) -> dict[str, Any]:
    """Return the line as JSON values."""
    return {**asdict(summary), "decided_at": summary.decided_at.isoformat()}


def summary_from_json(content: dict[str, Any]) -> Summary:
    """Return the line that `summary_as_json` wrote.

    Raises:
        TypeError: If its fields are others.
    """
    drawing = content["drawing"]
    if drawing is not None:
        good, ticks = drawing["good"], tuple((at, tick) for at, tick in drawing["ticks"])
        drawing = IntervalDrawing(**{**drawing, "good": None if good is None else tuple(good), "ticks": ticks})
    return Summary(**{**content, "drawing": drawing, "decided_at": datetime.fromisoformat(content["decided_at"])})


def render_index(summaries: Sequence[Summary]) -> str:
    """Return the page that lists every experiment, the latest decided first."""
    latest_first = sorted(summaries, key=lambda summary: summary.decided_at, reverse=True)
    verdicts = [summary.verdict for summary in summaries]
    counts = [(verdict, title, verdicts.count(verdict)) for verdict, title in TITLES.items() if verdict in verdicts]
    return render("index.html", head_script="theme.js", scripts=(), summaries=latest_first, counts=counts)
