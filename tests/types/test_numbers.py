"""Which values are a score."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.types.numbers import real_number, shown


@pytest.mark.parametrize(
    "half",
    [0.5, Fraction(1, 2), Decimal("0.5"), np.float16(0.5), np.float32(0.5), np.float64(0.5), np.array(0.5),
     torch.tensor(0.5), torch.tensor(0.5, dtype=torch.bfloat16), torch.tensor(0.5, requires_grad=True)],
)  # fmt: skip
def test_a_half_of_any_type_is_a_half(half: object) -> None:
    assert real_number(half) == 0.5


@pytest.mark.parametrize(
    "one", [1, True, np.True_, np.int8(1), np.uint64(1), np.array(True), torch.tensor(True), torch.tensor(1)]
)
def test_a_one_of_any_type_is_a_one(one: object) -> None:
    found = real_number(one)
    assert (found, type(found)) == (1.0, float)


@pytest.mark.parametrize(
    "value",
    [None, "0.5", b"1", 1j, np.complex64(1), float("nan"), float("inf"), np.float32("nan"), Decimal("NaN"), [0.5],
     (1,), {}, np.array([0.5]), np.array("1"), torch.tensor([1.0]), torch.tensor(1j), object(), int, 10**400],
)  # fmt: skip
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert real_number(value) is None


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300) | st.fractions())
def test_python_numbers_keep_their_value(value: float) -> None:
    assert real_number(value) == float(value)


def test_an_error_says_what_was_given() -> None:
    assert shown(np.array([0.5])) == "array([0.5]) (ndarray of shape (1,))"
    assert shown(None) == "None (NoneType)"
    assert shown("x" * 100) == f"'{'x' * 59}... (str)"
