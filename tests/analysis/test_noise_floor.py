import math
from dataclasses import asdict

import pytest

from harness.analysis.noise_floor import NoiseFloor, Rerun, noise_of, not_measured


def test_the_floor_is_the_largest_of_mean_and_standard_error_over_circumstances() -> None:
    # One of four moved by 1: root mean square 0.5; 1.96 * 0.5 / sqrt(16) = 0.245. A mean of 0.25 that one flip makes is
    # no shift: the interval of the four holds 0.
    found = noise_of(
        "exact_match",
        {"one at a time": [0.0, 0.0, 0.0, 1.0], "in float32": [1.0, -1.0, 0.0, 0.0]},
        system="zero-shot",
        holdout=16,
        unit="%",
    )

    spread = math.sqrt(0.5)
    assert found == NoiseFloor(
        metric="exact_match",
        system="zero-shot",
        unit="%",
        floor=1.96 * spread / 4,
        holdout=16,
        reruns=(
            Rerun(circumstance="one at a time", samples=4, changed=1, mean=0.25, spread=0.5, floor=1.96 * 0.5 / 4),
            Rerun(circumstance="in float32", samples=4, changed=2, mean=0.0, spread=spread, floor=1.96 * spread / 4),
        ),
        sentence="Asked again, zero-shot scored otherwise in exact_match on so many DEV samples: one at a time: 1 of "
        "4; in float32: 2 of 4. On 16 holdout samples a difference of 35.0 pts or less may be this noise.",
    )
    assert asdict(found)["reruns"][0]["changed"] == 1


def test_a_shift_that_the_samples_show_is_the_floor_however_large_the_holdout() -> None:
    found = noise_of("exact_match", {"in float32": [-1.0] * 12 + [0.0] * 36}, system="s", holdout=10_000, unit="%")

    assert found.floor == 0.25


def test_no_change_is_a_floor_of_0_with_the_bound_that_so_many_samples_give() -> None:
    found = noise_of("exact_match", {"one at a time": [0.0] * 48}, system="zero-shot", holdout=200, unit="%")

    assert found.floor == 0
    assert found.sentence.endswith("No noise was seen; with 95 % confidence at most 6.1 % of samples move.")


def test_noise_in_other_units_keeps_two_digits() -> None:
    found = noise_of("perplexity", {"in float32": [0.0123, 0.0123]}, system="base", holdout=9, unit="")

    assert found.floor == pytest.approx(0.0123)
    assert "a difference of 0.013 or less" in found.sentence


def test_what_was_not_asked_again_says_why() -> None:
    found = not_measured("exact_match", system="hosted", holdout=9, unit="%", why="each answer is paid for")

    assert (found.floor, found.reruns) == (0.0, ())
    assert found.sentence == "The noise of exact_match was not measured: each answer is paid for."


@pytest.mark.parametrize(("differences", "holdout"), [([], 5), ([math.nan], 5), ([0.0], 0)])
def test_differences_that_are_none_or_no_numbers_are_refused(differences: list[float], holdout: int) -> None:
    with pytest.raises(ValueError, match="give"):
        noise_of("m", {"again": differences}, system="s", holdout=holdout, unit="%")
