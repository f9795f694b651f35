"""Worked numbers: Krippendorff's example of four coders and twelve units, and evalica's table of foods."""

import numpy as np
import pytest

from harness.stats.win_rate import bradley_terry, krippendorff_alpha, krippendorff_interval

NONE = np.nan
CODERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, NONE],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 3],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)
# left, right, and < where the left one won, > where the right one did, = for a tie.
FOOD = """Pizza<Sushi Burger>Pasta Tacos<Pizza Sushi>Tacos Burger<Pizza Pasta>Sushi Tacos<Burger Pizza=Pasta
Sushi>Burger Pasta<Tacos Burger>Sushi Tacos<Pizza Sushi=Pasta Burger<Tacos Pizza>Burger Pasta>Tacos Burger>Sushi
Tacos<Pasta Pizza>Tacos Sushi<Burger Pasta>Pizza Burger>Sushi Tacos<Pasta Pizza<Sushi Sushi>Burger Pasta>Tacos
Tacos<Pizza Burger>Pasta Sushi<Tacos Pizza>Burger"""


def foods() -> tuple[list[str], list[str], list[float]]:
    first, second, points = [], [], []
    for pair in FOOD.split():
        sign = next(sign for sign in "<>=" if sign in pair)
        left, _, right = pair.partition(sign)
        first.append(left)
        second.append(right)
        points.append({"<": 1.0, ">": 0.0, "=": 0.5}[sign])
    return first, second, points


def test_krippendorffs_own_example() -> None:
    assert krippendorff_alpha(CODERS) == pytest.approx(0.7434210526, abs=1e-10)
    assert krippendorff_alpha(CODERS, scale="interval") == pytest.approx(0.8491071429, abs=1e-10)


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", -0.1538462), ("interval", 0.5454545)])
def test_near_misses_count_on_an_interval_scale_alone(scale: str, alpha: float) -> None:
    ratings = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    assert krippendorff_alpha(ratings, scale=scale) == pytest.approx(alpha, abs=1e-7)  # type: ignore[arg-type]


def test_the_interval_of_alpha_is_over_units_and_wider_than_over_pairs_of_ratings() -> None:
    found = krippendorff_interval(CODERS, seed=42)
    assert found.low < krippendorff_alpha(CODERS) < found.high
    # evalica 0.4.2 draws pairs as if those of one unit were independent: [0.572, 0.850].
    assert found.low < 0.572
    assert found.high > 0.850


def test_raters_by_chance_have_alpha_0_and_equal_raters_1() -> None:
    generator = np.random.default_rng(1)
    assert krippendorff_alpha(generator.integers(0, 2, size=(3, 2000)).astype(float)) == pytest.approx(0.0, abs=0.03)
    assert krippendorff_alpha(np.tile(generator.integers(0, 3, 50).astype(float), (3, 1))) == 1.0
    assert krippendorff_alpha(np.ones((2, 5))) == 1.0


@pytest.mark.parametrize("ratings", [np.full((2, 3), NONE), np.array([[1.0, NONE], [NONE, 2.0]])])
def test_units_that_nobody_rated_twice_are_refused(ratings: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no unit has two ratings"):
        krippendorff_alpha(ratings)


def test_the_strengths_of_foods() -> None:
    found = bradley_terry(*foods())
    expected = {"Tacos": 0.434290, "Sushi": 0.190600, "Burger": 0.147977, "Pasta": 0.128153, "Pizza": 0.098980}
    assert found == pytest.approx(expected, abs=1e-5)
    assert list(found) == list(expected)
    assert sum(found.values()) == pytest.approx(1.0)


def test_strengths_are_recovered_and_do_not_depend_on_who_is_named_first() -> None:
    generator, truth = np.random.default_rng(2), {"a": 0.5, "b": 0.3, "c": 0.2}
    pairs = [("a", "b"), ("b", "c"), ("a", "c")] * 2000
    points = [float(generator.random() < truth[left] / (truth[left] + truth[right])) for left, right in pairs]
    left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert bradley_terry(left, right, points) == pytest.approx(truth, abs=0.02)
    assert bradley_terry(right, left, [1 - point for point in points]) == pytest.approx(
        bradley_terry(left, right, points)
    )


def test_a_system_that_always_wins_has_no_finite_strength() -> None:
    with pytest.raises(ValueError, match="a got 2 of 2 points"):
        bradley_terry(["a", "a", "b"], ["b", "c", "c"], [1.0, 1.0, 0.5])
