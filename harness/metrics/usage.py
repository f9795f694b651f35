"""What an answer took: tokens, seconds, and the money of a request. of_usage: nothing is said of how good it is."""

from dataclasses import dataclass, field
from typing import ClassVar

from harness.errors import InvalidExperiment
from harness.types.models import AnyModel, Costs, Endpoint
from harness.types.protocols import Direction
from harness.types.samples import TIMED_IN_BATCH, Answer, Sample, Score

_FEWEST_TIMED = 5


class _Usage:
    better: ClassVar[Direction] = "lower"
    of_usage: ClassVar[bool] = True


@dataclass(frozen=True)
class TokensIn(_Usage):
    """Tokens of the prompt as really rendered, the mean of the samples; lower is better.

    Examples:
        >>> sample = Sample(id="1", input="?", reference="!")
        >>> TokensIn().score(sample, Answer(sample_id="1", text="!", tokens_in=120))
        120.0
    """

    name: ClassVar[str] = "tokens_in"
    unit: ClassVar[str] = "tokens"

    def score(self, sample: Sample, answer: Answer) -> float:
        return float(answer.tokens_in)


@dataclass(frozen=True)
class TokensOut(_Usage):
    """Tokens of the answer, the mean of the samples; lower is better.

    Examples:
        >>> sample = Sample(id="1", input="?", reference="!")
        >>> TokensOut().score(sample, Answer(sample_id="1", text="!", tokens_out=7))
        7.0
    """

    name: ClassVar[str] = "tokens_out"
    unit: ClassVar[str] = "tokens"

    def score(self, sample: Sample, answer: Answer) -> float:
        return float(answer.tokens_out)


@dataclass(frozen=True)
class Latency(_Usage):
    """Seconds an answer took, looking something up for its prompt included, mean of the samples; lower is better.

    In a batch a sample's seconds are its share of the batch's wall time: throughput, not the wait of one caller. Such a
    time is dealt out evenly, so that batches are counted and not samples: with few of them the interval is wide, with
    one it has no ends.

    Args:
        one_at_a_time: Ask `samples` of the split's samples again, evenly spread, each by itself: what a single caller
            waits. With several seeds the first one's model is timed.
        samples: How many are asked one at a time, 5 or more.

    Raises:
        InvalidExperiment: If `samples` is no whole number of 5 or more.

    Examples:
        >>> Latency(one_at_a_time=True, samples=64).name
        'latency_one_at_a_time'
    """

    unit: ClassVar[str] = "s"

    one_at_a_time: bool = field(default=False, metadata={"key": "changed"})
    samples: int = field(default=32, metadata={"key": "changed"})

    def __post_init__(self) -> None:
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < _FEWEST_TIMED:
            raise InvalidExperiment(
                f"Latency(samples={self.samples!r}): give a whole number of {_FEWEST_TIMED} or more, since a mean of "
                "fewer times has hardly an interval"
            )

    @property
    def name(self) -> str:
        return "latency_one_at_a_time" if self.one_at_a_time else "latency"

    def score(self, sample: Sample, answer: Answer) -> float | Score:
        if answer.timed_in_batch is None:
            return answer.seconds
        return Score(answer.seconds, {TIMED_IN_BATCH: answer.timed_in_batch})


_PRICED_TOKENS = 1_000_000
_HOUR_SECONDS = 3600


@dataclass(frozen=True)
class Cost(_Usage):
    """Money that a request costs, the mean of the samples; lower is better.

    An endpoint's request costs its tokens at `Endpoint(price_in=, price_out=)`, that of a model that runs here its
    seconds at `Experiment(costs=Costs(serving_hour=))`. In a batch a sample's seconds are its share of the batch's
    wall time.

    Examples:
        >>> sample = Sample(id="1", input="?", reference="!")
        >>> cost = Cost().priced(Endpoint("https://api.example.com/v1", "large", price_in=2, price_out=10), None)
        >>> cost.score(sample, Answer(sample_id="1", text="!", tokens_in=500_000))
        1.0
    """

    name: ClassVar[str] = "cost"
    unit: ClassVar[str] = "a request"

    def missing_price(self, model: AnyModel, costs: Costs | None) -> str | None:
        """Return in words which price of `model` is unknown, None if none is."""
        if isinstance(model, Endpoint):
            known = model.price_in is not None and model.price_out is not None
            return None if known else f"{model.name} has no price: give Endpoint(price_in=..., price_out=...)"
        known = costs is not None and costs.serving_hour is not None
        return None if known else f"{model.name} runs here: give Experiment(costs=Costs(serving_hour=...))"

    def priced(self, model: AnyModel, costs: Costs | None) -> "PricedCost":
        """Return the metric of what `model` answers.

        Raises:
            InvalidExperiment: If a price is unknown.
        """
        if missing := self.missing_price(model, costs):
            raise InvalidExperiment(f"Cost: {missing}; without a price nobody knows what a request costs")
        if isinstance(model, Endpoint):
            assert model.price_in is not None
            assert model.price_out is not None
            return PricedCost(token_in=model.price_in / _PRICED_TOKENS, token_out=model.price_out / _PRICED_TOKENS)
        assert costs is not None
        assert costs.serving_hour is not None
        return PricedCost(second=costs.serving_hour / _HOUR_SECONDS)

    def score(self, sample: Sample, answer: Answer) -> float:
        """Refuse: an answer by itself does not say who gave it.

        Raises:
            InvalidExperiment: Always; `priced` returns the metric that scores.
        """
        raise InvalidExperiment(
            "Cost is computed from the prices of what answers; score with Cost().priced(model, costs)"
        )


@dataclass(frozen=True, kw_only=True)
class PricedCost:
    """`Cost` with the prices of one model: money a token of the prompt, a token of the answer, and a second."""

    token_in: float = 0.0
    token_out: float = 0.0
    second: float = 0.0

    name: ClassVar[str] = Cost.name
    better: ClassVar[Direction] = Cost.better
    of_usage: ClassVar[bool] = True
    unit: ClassVar[str] = Cost.unit

    def score(self, sample: Sample, answer: Answer) -> float | Score:
        """Return the money; of a share of a batch's time also which batch, since batches are counted, not samples."""
        money = self.token_in * answer.tokens_in + self.token_out * answer.tokens_out + self.second * answer.seconds
        shared = self.second > 0 and answer.timed_in_batch is not None
        return Score(money, {TIMED_IN_BATCH: answer.timed_in_batch}) if shared else money
