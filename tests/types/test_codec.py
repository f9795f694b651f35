"""What is written comes back as it was; what older versions wrote comes back with defaults."""

import json
import math
from dataclasses import asdict

import pytest

from harness.analysis.estimate import Estimate
from harness.analysis.insights import kind_of, stored_insights
from harness.experiment.declaration import DeclaredCriterion, Rule
from harness.types.codec import from_json, to_json
from harness.types.samples import Check
from tests.report.insights_made import curve, payback


def stored(value: object) -> object:
    return json.loads(json.dumps(to_json(value), allow_nan=False))


@pytest.mark.parametrize("made", [curve(), payback()], ids=["curve", "break_even"])
def test_an_insight_comes_back_as_its_class(made: object) -> None:
    kind = kind_of(made)
    assert getattr(stored_insights([(kind, stored(made))]), kind) == made


@pytest.mark.parametrize(
    "made",
    [Estimate(0.1, -math.inf, math.inf), Estimate(math.inf, math.inf, math.inf), Estimate(0.0, 0.0, 0.0)],
    ids=["open", "out of reach", "nothing"],
)
def test_null_is_the_end_that_it_was(made: Estimate) -> None:
    assert from_json(Estimate, stored(made)) == made


def test_a_missing_field_takes_its_default_and_an_unknown_one_is_ignored() -> None:
    found = from_json(Check, {"name": "n", "status": "ok", "detail": "d", "of_tomorrow": 1})
    assert found == Check(name="n", status="ok", detail="d")
    with pytest.raises(TypeError, match="detail"):
        from_json(Check, {"name": "n", "status": "ok"})


def test_what_is_empty_leaves_no_trace_in_a_rule() -> None:
    own = DeclaredCriterion(kind="own", metrics=("m",), path="lamps:Cheerful")
    assert stored(own) == {"kind": "own", "metrics": ["m"], "number": None, "class": "lamps:Cheerful"}
    assert from_json(Rule, {"go_if": [stored(own)]}) == Rule(go_if=(own,))
    assert "excused" in asdict(Check(name="n", status="ok", detail="d"))
    assert "excused" not in to_json(Check(name="n", status="ok", detail="d"))
