"""What a request costs, by the prices of what answers it."""

from dataclasses import replace

import pytest

from harness import Cost, Costs, Endpoint, Model, Preference
from harness.errors import InvalidExperiment
from harness.metrics.usage import PricedCost
from harness.types.protocols import Metric, Priced
from harness.types.samples import Answer, Sample, Score

SAMPLE = Sample(id="s1", input="?", reference="on")
ANSWER = Answer(sample_id="s1", text="on", tokens_in=1000, tokens_out=20, seconds=1.8)
URL = "http://127.0.0.1:8000/v1"


def test_an_endpoint_costs_its_tokens_and_a_local_model_its_seconds() -> None:
    endpoint = Endpoint(URL, "large", price_in=3.0, price_out=15.0)
    assert Cost().priced(endpoint, None).score(SAMPLE, ANSWER) == pytest.approx(0.0033)
    assert Cost().priced(Model("small"), Costs(serving_hour=2.0)).score(SAMPLE, ANSWER) == pytest.approx(0.001)
    assert Cost().priced(Endpoint(URL, "free", 0.0, 0.0), None).score(SAMPLE, ANSWER) == 0.0


@pytest.mark.parametrize(
    ("model", "costs", "message"),
    [
        (Endpoint(URL, "large", price_in=3.0), Costs(serving_hour=2.0), r"large has no price: give Endpoint\(price_in"),
        (Model("small"), None, r"small runs here: give Experiment\(costs=Costs\(serving_hour"),
        (Model("small"), Costs(training_hour=1.0), "small runs here"),
    ],
)
def test_an_unknown_price_is_named(model: Model | Endpoint, costs: Costs | None, message: str) -> None:
    with pytest.raises(InvalidExperiment, match=message):
        Cost().priced(model, costs)


def test_it_is_a_metric_whose_lower_scores_are_better() -> None:
    assert isinstance(Cost(), Metric)
    assert isinstance(Cost(), Priced)
    assert (Cost().name, Cost().better, Cost().unit) == ("cost", "lower", "a request")
    with pytest.raises(InvalidExperiment, match="prices of what answers"):
        Cost().score(SAMPLE, ANSWER)


def test_it_is_no_judge_of_single_answers() -> None:
    with pytest.raises(InvalidExperiment, match="cannot be scored alone"):
        Preference(by=Cost())


def test_a_share_of_a_batchs_time_says_which_batch_and_tokens_need_none() -> None:
    sample, answer = Sample(id="s", input="?", reference="!"), Answer(sample_id="s", text="", seconds=2.0, tokens_in=3)
    shared = replace(answer, timed_in_batch=4)
    assert PricedCost(second=0.5).score(sample, shared) == Score(1.0, {"timed_in_batch": 4})
    assert PricedCost(second=0.5).score(sample, answer) == 1.0
    assert PricedCost(token_in=2.0).score(sample, shared) == 6.0
    assert Cost.of_usage
