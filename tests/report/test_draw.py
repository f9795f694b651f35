"""Where intervals stand on their axis."""

import math

from hypothesis import given
from hypothesis import strategies as st

from harness.report.draw import Axis, axis_over, draw_interval, symmetric_axis

_numbers = st.floats(-1e6, 1e6)


@given(st.lists(_numbers, min_size=1, max_size=8))
def test_every_value_lies_inside_an_axis_over_it(values: list[float]) -> None:
    axis = axis_over(values)
    assert axis.low < min(values) <= max(values) < axis.high
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


@given(_numbers, st.floats(1e-6, 1e6))
def test_an_axis_has_one_to_six_ticks_inside_it(low: float, width: float) -> None:
    axis = Axis(low, low + width)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 6
    slack = 1e-6 * max(1.0, abs(low))
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)


def test_ticks_are_round_numbers() -> None:
    assert Axis(-0.02, 0.47).ticks() == (0.0, 0.1, 0.2, 0.3, 0.4)


def test_values_that_cannot_be_drawn_are_left_out_of_the_axis() -> None:
    assert axis_over([None, math.inf, math.nan, 1.0, 2.0]) == axis_over([1.0, 2.0])


def test_zero_is_in_the_middle_of_a_symmetric_axis() -> None:
    assert symmetric_axis([-0.1, 0.3]).at(0.0) == 50.0


def test_a_missing_bound_runs_to_the_end_of_the_axis() -> None:
    drawn = draw_interval(Axis(0.0, 10.0), None, 5.0, 7.5)
    assert (drawn.low, drawn.point, drawn.high) == (0.0, 50.0, 75.0)
    assert (drawn.open_low, drawn.open_high) == (True, False)
