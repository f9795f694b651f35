"""How one sample counts: improved, regressed, both right, both wrong."""

import pytest

from harness.report.samples import compare_outcome, is_binary, single_outcome


@pytest.mark.parametrize(
    ("baseline", "tuned", "better", "outcome"),
    [
        ([0.0], [1.0], "higher", "improved"),
        ([1.0], [0.0], "higher", "regressed"),
        ([1.0], [1.0, 1.0, 0.0], "higher", "regressed"),
        ([0.0], [0.0, 0.0, 1.0], "higher", "improved"),
        ([1.0], [1.0, 1.0], "higher", "both_right"),
        ([0.0], [0.0], "higher", "both_wrong"),
        ([0.0], [0.0], "lower", "both_right"),
        ([1.0], [0.0], "lower", "improved"),
        ([0.5, 0.5], [0.5], "higher", "same"),
        ([], [1.0], "higher", "unscored"),
        ([1.0], [], "higher", "unscored"),
    ],
)
def test_outcome_of_a_right_or_wrong_metric(
    baseline: list[float], tuned: list[float], better: str, outcome: str
) -> None:
    assert compare_outcome(baseline, tuned, better=better, binary=True) == outcome


def test_equal_scores_of_a_graded_metric_are_the_same() -> None:
    assert compare_outcome([1.0], [1.0], better="higher", binary=False) == "same"


def test_one_system_alone_is_right_only_with_every_seed() -> None:
    outcomes = [single_outcome(scores, better="higher", binary=True) for scores in ([1.0], [1.0, 0.0], [])]
    assert outcomes == ["right", "wrong", "unscored"]


def test_scores_between_make_a_metric_graded() -> None:
    assert [is_binary([0.0, 1.0]), is_binary([0.0, 0.5]), is_binary([])] == [True, False, False]
