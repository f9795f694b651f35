import math
from dataclasses import asdict

import numpy as np
import pytest

from harness.analysis.break_even import Requests, as_comparison, payback, quality_of
from harness.errors import Incomparable
from harness.experiment.criteria import BREAK_EVEN, BreakEven
from harness.metrics.usage import Latency
from harness.stats.compare import compare
from harness.types.models import Costs
from tests.analysis.scores import Right, scored

COUNT = 200


def local(system: str, seconds: object, tokens_in: float = 100.0, **fields: object) -> Requests:
    values = np.atleast_2d(np.broadcast_to(np.asarray(seconds, dtype=float), np.shape(seconds) or (COUNT,)))
    tokens = np.full(values.shape, tokens_in)
    ids = tuple(f"s{place}" for place in range(values.shape[1]))
    return Requests(
        **{
            "system": system,
            "sample_ids": ids,
            "tokens_in": tokens,
            "tokens_out": tokens / 10,
            "seconds": values,
            **fields,
        }
    )


def noisy(mean: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(20, mean / 20, COUNT)


def test_without_prices_the_currency_is_seconds_of_this_machine():
    before, after = noisy(0.5, 1), noisy(0.3, 2)
    found = payback((local("few-shot", before, 800), local("lora", after)), training_seconds=60.0)
    assert (found.currency, found.training_cost, found.notes) == ("seconds", 60.0, ())
    assert found.requests is not None
    assert found.requests.value == pytest.approx(60 / (before.mean() - after.mean()))
    assert (found.baseline_tokens, found.tuned_tokens) == (880.0, 110.0)
    assert "few-shot" in found.sentence
    assert "training is paid back after about 310 requests [280; 330] (95 % interval)" in found.sentence


def test_times_that_are_all_alike_say_nothing_of_their_spread():
    found = payback((local("few-shot", 0.5), local("lora", 0.3)), training_seconds=60.0)

    assert found.requests is not None
    assert asdict(found.requests) == pytest.approx({"value": 300.0, "low": 0.0, "high": math.inf})
    assert "The saving is 200 s [-∞, ∞], so training would be paid back after about 300 requests." in found.sentence
    judged = BreakEven(requests=1e6).judge([as_comparison(found)])
    assert judged.status == "open"
    assert judged.sentence == (
        "Training would have paid for itself after about 300 requests. The 95 % interval neither shows nor rules out "
        "payback within 1,000,000 requests. How much the time of a request varies was not measured, since answers "
        "shared the time of a batch: Latency(one_at_a_time=True) in metrics measures it."
    )


def test_a_batch_counts_once_however_many_answers_share_its_time():
    def batched(name: str, *times: float) -> Requests:
        size = COUNT // len(times)
        batches = (tuple(place // size for place in range(COUNT)),)
        return local(name, np.repeat(times, size), batches=batches)

    one = payback((batched("b", 0.5), batched("t", 0.3)), training_seconds=60.0)
    times = (0.5, 0.6, 0.4, 0.55, 0.45)
    few = payback((batched("b", *times), batched("t", 0.3, 0.31, 0.29, 0.3, 0.3)), training_seconds=60.0)
    plain = payback((local("b", np.repeat(times, 40)), local("t", noisy(0.3, 1))), training_seconds=60.0)
    assert one.requests is not None
    assert few.requests is not None
    assert plain.requests is not None
    assert (one.requests.low, one.requests.high) == (0.0, math.inf)
    assert few.requests.high - few.requests.low > 3 * (plain.requests.high - plain.requests.low)


@pytest.mark.parametrize(
    ("before", "after", "loss", "standing", "status"),
    [
        (0.65, 0.0, 0.0, "worse", "failed"),
        (0.65, 0.9, 0.0, "no worse", "met"),
        (0.65, 0.65, 0.0, "open", "open"),
        (0.65, 0.66, 0.1, "no worse", "met"),
        (0.65, 0.4, 0.1, "worse", "failed"),
    ],
)
def test_worse_answers_pay_nothing_back(before: float, after: float, loss: float, standing: str, status: str):
    luck = np.random.default_rng(3).random(400)
    sides = [scored(name, (luck < share).astype(float)) for name, share in (("b", before), ("t", after))]
    quality = quality_of(compare(Right(), split="holdout", baseline=sides[0], tuned=sides[1]), loss=loss)
    found = payback((local("b", noisy(0.5, 1)), local("t", noisy(0.3, 2))), training_seconds=60.0, quality=quality)
    judged = BreakEven(requests=1000).judge([as_comparison(found)])

    assert (quality.standing, judged.status) == (standing, status)
    said = "Nothing is paid back by worse answers: right went from"
    assert (said in judged.sentence, said in found.sentence) == (standing == "worse",) * 2
    assert ("It is not shown that the answers are no worse" in judged.sentence) == (standing == "open")


def test_the_interval_is_that_of_the_paired_saving():
    before, after = noisy(0.5, 1), noisy(0.4, 2)
    found = payback((local("few-shot", before), local("lora", after)), training_seconds=60.0, level=0.9)
    saved = compare(Latency(), split="holdout", baseline=scored("b", before), tuned=scored("t", after), level=0.9)
    assert found.requests is not None
    assert found.requests.value == pytest.approx(60 / -saved.difference)
    assert (found.requests.low, found.requests.high) == pytest.approx((60 / -saved.low, 60 / -saved.high))
    assert 0 < found.requests.low < found.requests.value < found.requests.high < math.inf


def test_a_saving_that_may_be_nothing_may_never_pay():
    unclear = payback((local("b", noisy(0.5, 1)), local("t", noisy(0.49, 2))), training_seconds=60.0)
    assert unclear.requests is not None
    assert unclear.requests.low > 0
    assert math.isinf(unclear.requests.high)

    dearer = payback((local("b", noisy(0.3, 1)), local("t", noisy(0.5, 2))), training_seconds=60.0)
    assert dearer.requests is not None
    assert asdict(dearer.requests) == {"value": math.inf, "low": math.inf, "high": math.inf}
    assert "training is never paid back" in dearer.sentence


def test_money_is_counted_where_all_has_a_price():
    hosted = local("gpt", 9.0, 1000, hosted=True, price_in=2.0, price_out=8.0)
    found = payback(
        (hosted, local("lora", 0.36)), training_seconds=1800.0, costs=Costs(training_hour=2.0, serving_hour=1.0)
    )
    assert (found.currency, found.training_cost) == ("money", 1.0)
    assert found.saving is not None
    assert found.requests is not None
    # 1,000 tokens at 2 and 100 at 8 a million, less 0.36 s at 1 an hour.
    assert found.saving.value == pytest.approx(0.0028 - 0.0001)
    assert found.requests.value == pytest.approx(1 / 0.0027)
    assert found.basis == "in money: gpt by its price a token and lora by seconds of this machine"


def test_a_missing_price_is_named_and_nothing_is_guessed():
    hosted = local("gpt", 9.0, hosted=True, price_in=2.0)
    found = payback((hosted, local("lora", 0.3)), training_seconds=60.0, costs=Costs(training_hour=2.0))
    assert (found.requests, found.saving, found.training_cost) == (None, None, None)
    assert found.notes == (
        "gpt answers from an endpoint without price_in and price_out",
        "Costs(serving_hour=...) is not declared",
        "an endpoint's seconds are not this machine's, so they cannot stand for money",
    )
    assert found.sentence.startswith("When training pays for itself is unknown: gpt answers from an endpoint")


def test_half_declared_costs_of_local_systems_fall_back_to_seconds_and_say_so():
    found = payback((local("b", 0.5), local("t", 0.3)), training_seconds=60.0, costs=Costs(training_hour=2.0))
    assert (found.currency, found.notes) == ("seconds", ("Costs(serving_hour=...) is not declared",))
    assert found.sentence.endswith("Costs(serving_hour=...) is not declared: seconds stand for money.")


def test_seeds_are_averaged_before_anything_else():
    once, twice = noisy(0.3, 3), np.stack([noisy(0.3, 3), noisy(0.3, 3)])
    found = [payback((local("b", 0.5), local("t", seconds)), training_seconds=60.0).saving for seconds in (once, twice)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].value == pytest.approx(found[1].value)


@pytest.mark.parametrize(("limit", "status"), [(400, "met"), (200, "failed")])
def test_break_even_is_judged_by_the_comparison(limit: float, status: str):
    found = payback((local("b", noisy(0.5, 1)), local("t", noisy(0.3, 2))), training_seconds=60.0)
    comparison = as_comparison(found)
    assert (comparison.metric, comparison.unit, comparison.better) == (BREAK_EVEN, "requests", "lower")
    assert BreakEven(limit).judge([comparison]).status == status


def test_an_unknown_payback_neither_meets_nor_fails():
    hosted = local("gpt", 9.0, hosted=True)
    found = payback((hosted, local("lora", 0.3)), training_seconds=60.0)
    assert BreakEven(1e9).judge([as_comparison(found)]).status == "open"
    never = payback((local("b", noisy(0.3, 1)), local("t", noisy(0.5, 2))), training_seconds=60.0)
    assert BreakEven(1e9).judge([as_comparison(never)]).status == "failed"


def test_other_samples_are_refused():
    with pytest.raises(Incomparable, match="different samples"):
        payback((local("b", [0.1, 0.2]), local("t", [0.1])), training_seconds=1.0)
