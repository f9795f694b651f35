"""Numeric: the last number of the answer against the reference's."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidData, InvalidExperiment
from harness.metrics import Numeric
from harness.metrics.numeric import last_number
from harness.protocols import Metric
from harness.samples import Answer, Sample, Score


def scored(metric: Numeric, reference: str, text: str) -> Score:
    return metric.score(Sample(id="s1", input="?", reference=reference), Answer(sample_id="s1", text=text))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", "42"),
        ("First 3, then 4.", "4"),
        ("it is -3.5 degrees", "-3.5"),
        ("7-2", "2"),
        ("(7)-2", "2"),
        ("= -2", "-2"),
        ("1,234.50 in all", "1234.50"),
        ("12,34", "34"),
        ("about .5", "0.5"),
        ("2e-3", "0.002"),
        ("x2 and H2O", None),
        ("5kg", "5"),
        ("\u22127", "-7"),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_of_a_text(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


@given(st.integers(), st.text(alphabet="abc ", max_size=8))
def test_a_number_at_the_end_is_read_whatever_stands_before(number: int, before: str) -> None:
    assert last_number(f"{before} = {number}") == number


@pytest.mark.parametrize(
    ("metric", "text", "wanted"),
    [
        (Numeric(), "so it is 0.30", 1.0),
        (Numeric(), "0.31", 0.0),
        (Numeric(tolerance=0.1), "0.4", 1.0),
        (Numeric(tolerance=0.1), "0.41", 0.0),
        (Numeric(relative=0.5), "0.45", 1.0),
        (Numeric(relative=0.5), "0.46", 0.0),
        (Numeric(tolerance=1, relative=0.5), "1.2", 1.0),
        (Numeric(tolerance=1), "no idea", 0.0),
    ],
)
def test_the_wider_tolerance_decides(metric: Numeric, text: str, wanted: float) -> None:
    assert scored(metric, "0.3", text).value == wanted


def test_the_detail_holds_both_numbers() -> None:
    assert scored(Numeric(), "1,000", "999") == Score(0.0, detail=["1000", "999"])
    assert scored(Numeric(), "1,000", "many") == Score(0.0, detail=["1000", None])


def test_a_reference_without_a_number_names_the_sample() -> None:
    with pytest.raises(InvalidData, match="sample 's1': its reference 'many' holds no number"):
        scored(Numeric(), "many", "3")


@pytest.mark.parametrize("fields", [{"tolerance": -1.0}, {"relative": float("nan")}])
def test_a_tolerance_below_zero_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidExperiment, match="give 0 or more"):
        Numeric(**fields)


def test_it_is_a_metric() -> None:
    assert isinstance(Numeric(), Metric)
