"""The learning rate that a range test suggests."""

import math
from collections.abc import Callable

import pytest

from harness.errors import InvalidExperiment
from harness.recipes import SFT, LoRA
from harness.training.rate_finder import suggest
from harness.training.sft import fit
from harness.types.jobs import TuneJob

Jobs = Callable[..., TuneJob]


def test_the_suggestion_is_a_tenth_of_the_rate_at_the_lowest_loss() -> None:
    rates = [10 ** (-6 + step / 10) for step in range(50)]
    # A valley in log rate with its bottom at 1e-2.
    losses = [1 + (math.log10(rate) + 2) ** 2 for rate in rates]
    curve = suggest(rates, losses, low=1e-5, high=1e-2)

    # Smoothing lags behind by 0.7 / 0.3 steps of a tenth of a decade.
    assert math.log10(curve.suggested) == pytest.approx(-3 + 0.23, abs=0.06)
    assert curve.points[0] == (1e-6, pytest.approx(17.0))
    assert len(curve.points) == 50


def test_the_suggestion_stays_within_the_range_and_ends_at_a_loss_that_is_no_number() -> None:
    assert suggest([1e-3, 1e-2], [2.0, 1.0], low=1e-5, high=1e-4).suggested == 1e-4
    assert suggest([1e-7, 1e-6], [1.0, 2.0], low=1e-5, high=1e-4).suggested == 1e-5
    assert len(suggest([1e-3, 1e-2, 1e-1], [1.0, math.nan, 0.1], low=1e-5, high=1.0).points) == 1
    assert suggest([1e-3], [math.inf], low=1e-5, high=1.0).suggested == 1e-5


def test_a_run_finds_its_rate_on_a_copy_and_then_trains_from_the_start(job: Jobs, heard) -> None:
    adapter = LoRA(rank=4)
    made = job(SFT(adapter=adapter, epochs=1, learning_rate="find"))
    result = fit(made, progress=heard)

    low, high = adapter.rates
    found = result.environment["learning_rate"]
    assert low <= found <= high
    check = {check.name: check for check in result.checks}["learning rate"]
    assert check.detail.startswith(f"the range test suggests {found:.3g}")
    assert len(check.items) > 20
    # The copy was thrown away: the first loss is the untrained model's, as in a run that declares this rate.
    declared = fit(
        job(SFT(adapter=adapter, epochs=1, learning_rate=found), folder=made.folder / "declared"), progress=heard
    )
    loss = [point.value for point in result.log if point.name == "loss"]
    assert loss == [point.value for point in declared.log if point.name == "loss"]


def test_a_method_that_wants_smaller_rates_is_searched_among_smaller_ones() -> None:
    class Careful(SFT):
        rate_factor = 0.1

    low, high = LoRA.rates
    assert Careful().rates == (pytest.approx(low / 10), pytest.approx(high / 10))
    with pytest.raises(InvalidExperiment, match=r'learning_rate=\'auto\'\): give a number, "find", or leave it out'):
        SFT(learning_rate="auto")  # type: ignore[arg-type]
