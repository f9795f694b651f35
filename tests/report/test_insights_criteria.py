"""Which side of its threshold meets a criterion, and in which unit it is shown."""

from dataclasses import replace
from types import ModuleType

import pytest

from harness.report.insights import CriterionView, criterion_views
from harness.store.rows import Evidence


def _view(evidence: Evidence, **finding: object) -> CriterionView:
    stored = evidence.decision.findings
    assert isinstance(stored, list)
    changed = replace(evidence, decision=replace(evidence.decision, findings=[stored[0] | finding]))
    return criterion_views(changed)[0]


@pytest.mark.parametrize(
    ("finding", "above"),
    [
        ({"status": "met", "low": 0.1, "high": 0.2, "threshold": 0.05}, True),
        ({"status": "failed", "low": 0.1, "high": 0.2, "threshold": 0.3}, True),
        ({"status": "met", "low": 0.1, "high": 0.2, "threshold": 0.3, "good_side": "below"}, False),
        ({"status": "open", "low": 0.1, "high": 0.2, "threshold": 0.15}, True),
        ({"status": "open", "low": 0.1, "high": 0.2, "threshold": 0.15, "good_side": "below"}, False),
        ({"status": "met", "low": 0.1, "high": 0.2, "threshold": 0.1, "good_side": "above"}, True),
    ],
)
def test_the_shaded_side_meets_the_criterion(made: ModuleType, finding: dict[str, object], above: bool) -> None:
    drawing = _view(made.go(), **finding).drawing
    assert drawing is not None
    assert drawing.good == ((drawing.threshold, 100.0) if above else (0.0, drawing.threshold))


def test_a_rule_on_the_tuned_mean_itself_is_shown_in_its_own_unit(made: ModuleType) -> None:
    evidence = made.go()
    told = replace(evidence, decision=replace(evidence.decision, about=["mean"]))
    view = _view(told, value=0.9, low=0.85, high=0.95, threshold=0.8)
    assert (view.measured, view.threshold) == ("90.0 % [85.0, 95.0]", "80.0 %")


def test_a_finding_says_its_own_unit(made: ModuleType) -> None:
    view = _view(made.go(), unit="s")
    assert (view.measured, view.threshold) == ("+0.40 s [+0.33, +0.47]", "+0.05 s")


def test_an_unbounded_interval_is_open_at_both_ends(made: ModuleType) -> None:
    view = _view(made.go(), low=None, high=None)
    assert view.measured == "+40.2 pts [-∞, +∞]"
    assert view.drawing is not None
    assert (view.drawing.open_low, view.drawing.open_high) == (True, True)


def test_a_finding_without_a_value_is_not_drawn(made: ModuleType) -> None:
    assert _view(made.go(), value=None).drawing is None
