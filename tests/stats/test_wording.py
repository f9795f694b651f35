import math

import pytest

from harness.stats.wording import Counts, amount, change, confidence, count, difference_text, mean_text, p_text, rounded


def test_a_difference_carries_its_doubt() -> None:
    text = difference_text(0.0081, -0.0112, 0.0263, unit="%", of=Counts(1200, 3))
    assert text == "+0.8 pts [-1.1, +2.6], n = 1,200, 3 seeds"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (difference_text(-0.2516, -0.5278, 0.0414, unit="s"), "-0.25 s [-0.53, +0.04]"),
        (difference_text(-312.4, -350, -270, unit="tokens"), "-312 tokens [-350, -270]"),
        (difference_text(1.0, -math.inf, math.inf, unit=""), "+1 [-∞, +∞]"),
        (difference_text(0.0, 0.0, 0.0, unit="%"), "+0.0 pts [+0.0, +0.0]"),
        (difference_text(-0.0001, -0.02, 0.02, unit="%"), "+0.0 pts [-2.0, +2.0]"),
        (mean_text(0.834, 0.812, 0.8551, unit="%", of=Counts(400)), "83.4 % [81.2, 85.5], n = 400"),
        (mean_text(12345.6, 12000, 13000, unit=""), "12,346 [12,000, 13,000]"),
        (amount(0.95, unit="%"), "95.0 %"),
        (amount(0.999, unit="%"), "99.9 %"),
        (amount(0.35, unit="s"), "0.35 s"),
        (change(0.05, unit="%"), "+5.0 pts"),
        (change(0.005, unit="%", sign=False), "0.5 pts"),
        (change(-1.25, unit=""), "-1.25"),
        (rounded(0.7425, unit="%"), "74.2 %"),
        (rounded(1.50483, unit="s"), "1.50 s"),
        (rounded(1234.5, unit=""), "1,234"),
        (rounded(0.0, unit=""), "0"),
        (p_text(0.0004), "p < 0.001"),
        (p_text(0.0625), "p = 0.062"),
        (p_text(1.0), "p = 1"),
        (confidence(0.95), "95 %"),
        (confidence(0.975), "97.5 %"),
        (confidence(1 - 0.05 / 3), "98.3 %"),
        (confidence(1 - 0.05 / 6), "99.17 %"),
        (confidence(1 - 0.05 / 380), "99.987 %"),
        (count(1, "seed"), "1 seed"),
        (count(1300, "holdout sample"), "1,300 holdout samples"),
    ],
)
def test_numbers_as_people_read_them(text: str, expected: str) -> None:
    assert text == expected
