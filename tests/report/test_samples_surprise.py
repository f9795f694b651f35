"""What is read first among the samples that changed."""

import pytest

from harness.report.samples import surprises


def test_without_likelihoods_the_outcome_that_is_rare_in_its_slice_surprises() -> None:
    outcomes = ["regressed", *["improved"] * 7, *["regressed"] * 4, *["improved"] * 4]
    slices = [*[{("room", "kitchen")}] * 8, *[{("room", "garage")}] * 8]

    found = surprises(outcomes, slices, [None] * 16)

    assert found[0] == pytest.approx(3.0)  # one of eight in the kitchen
    assert found[8:12] == pytest.approx([1.0] * 4)  # four of eight in the garage
    assert found[1] == pytest.approx(0.19264507794239588)


def test_a_small_slice_counts_as_the_whole_set() -> None:
    found = surprises(
        ["regressed", "improved", "improved", "improved"], [{("room", str(n))} for n in range(4)], [None] * 4
    )

    assert found == pytest.approx([2.0, *[0.4150374992788438] * 3])


def test_a_change_of_the_references_likelihood_is_the_surprise_itself() -> None:
    assert surprises(["regressed", "improved"], [(), ()], [-3.5, 0.25]) == [3.5, 0.25]


def test_an_outcome_that_all_share_is_no_surprise() -> None:
    assert surprises(["same"] * 3, [()] * 3, [None] * 3) == [0.0, 0.0, 0.0]
