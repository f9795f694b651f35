import math
from collections.abc import Sequence

import numpy as np
import pytest

from harness.errors import Incomparable
from harness.stats.compare import SystemScores, group_codes


def scored(system: str, scores: object, groups: Sequence[str | None] = ()) -> SystemScores:
    values = np.atleast_2d(np.asarray(scores, dtype=float))
    return SystemScores(system, tuple(f"s{place}" for place in range(values.shape[1])), values, (), tuple(groups))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_names_its_sample(bad: float) -> None:
    with pytest.raises(Incomparable, match=r"lora: the score of sample 's1' \(run 2 of 2\) is"):
        scored("lora", [[1, 1, 1], [1, bad, 0]])


def test_a_sample_scored_twice_is_named() -> None:
    with pytest.raises(Incomparable, match="sample 'a' is scored twice"):
        SystemScores("lora", ("a", "b", "a"), np.ones((1, 3)))


@pytest.mark.parametrize("shape", [(1, 2), (3,), (0, 3)])
def test_scores_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Incomparable, match=r"\(seeds, n\) is needed"):
        SystemScores("lora", ("a", "b", "c"), np.ones(shape))


def test_no_samples_are_refused() -> None:
    with pytest.raises(Incomparable, match="for 0 samples"):
        SystemScores("lora", (), np.ones((1, 0)))


def test_groups_are_numbered_and_a_sample_without_one_is_its_own() -> None:
    codes = group_codes(scored("a", [1, 0, 1, 0], ["x", None, "x", None]))
    assert codes is not None
    assert codes.tolist() == [0, 1, 0, 2]
    assert group_codes(scored("a", [1, 0], ["x", "y"])) is None


def part(system: str, ids: str, scores: object) -> SystemScores:
    values = np.atleast_2d(np.asarray(scores, dtype=float))
    details = tuple(tuple(f"{name}{row}" for name in ids) for row in range(len(values)))
    return SystemScores(system, tuple(ids), values, details, tuple(name.upper() for name in ids))
