"""What requests cost: in money where all that is used has a price, else in seconds of this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from harness.compare import SystemScores
from harness.models import Endpoint
from harness.protocols import AnyModel, FloatArray
from harness.samples import TIMED_IN_BATCH, Answer

Currency = Literal["money", "seconds"]
_HOUR = 3600.0
_PRICED_TOKENS = 1_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Requests:
    """What one system's requests took on the samples of one split: every array has shape (seeds, n).

    hosted: an endpoint answers, whose seconds cost nothing here; price_in, price_out: its money for a million tokens.
    clusters: `Sample.cluster` a sample; may be empty. batches: for each seed and sample the batch whose time was dealt
    out evenly over its answers, None where an answer was timed by itself; may be empty.
    """

    system: str
    sample_ids: tuple[str, ...]
    tokens_in: FloatArray
    tokens_out: FloatArray
    seconds: FloatArray
    hosted: bool = False
    price_in: float | None = None
    price_out: float | None = None
    clusters: tuple[str | None, ...] = ()
    batches: tuple[tuple[int | None, ...], ...] = ()

    @property
    def tokens(self) -> float:
        return float(self.tokens_in.mean() + self.tokens_out.mean())


@dataclass(frozen=True, eq=False)
class Priced:
    """training_second: what a second of training costs; costs: those of each request, baseline first."""

    currency: Currency
    training_second: float
    costs: tuple[SystemScores, SystemScores]


def missing_prices(
    sides: tuple[Requests, Requests], training_hour: float | None, serving_hour: float | None
) -> tuple[str, ...]:
    """Return, in words, each price that counting in money lacks; empty where none does."""
    missing = [
        f"{side.system} answers from an endpoint without price_in and price_out"
        for side in sides
        if side.hosted and (side.price_in is None or side.price_out is None)
    ]
    if training_hour is None:
        missing.append("Costs(training_hour=...) is not declared")
    if serving_hour is None and not all(side.hosted for side in sides):
        missing.append("Costs(serving_hour=...) is not declared")
    return tuple(missing)


def priced(
    sides: tuple[Requests, Requests], training_hour: float | None, serving_hour: float | None, missing: Sequence[str]
) -> Priced | None:
    """Price both sides: in money where nothing is missing, else in seconds; None where seconds cannot stand for it.

    missing: as `missing_prices` returns it. An endpoint's seconds are its own machine's, and cost nothing here.
    """
    if not missing:
        assert training_hour is not None
        costs = tuple(_money(side, serving_hour) for side in sides)
        return Priced("money", training_hour / _HOUR, (costs[0], costs[1]))
    if any(side.hosted for side in sides):
        return None
    return Priced("seconds", 1.0, (_by_time(sides[0], sides[0].seconds), _by_time(sides[1], sides[1].seconds)))


Numbers = TypeVar("Numbers", float, FloatArray)


def token_price(tokens_in: Numbers, tokens_out: Numbers, *, price_in: float, price_out: float) -> Numbers:
    """Return what answers of an endpoint cost. price_in, price_out: money for a million tokens."""
    return (price_in * tokens_in + price_out * tokens_out) / _PRICED_TOKENS


def machine_price(seconds: Numbers, *, serving_hour: float) -> Numbers:
    """Return what answers of one's own machine cost. serving_hour: money for an hour of it."""
    return seconds * (serving_hour / _HOUR)


def answer_price(answer: Answer, model: AnyModel, *, serving_hour: float | None) -> float | None:
    """Return what one answer of `model` costs, None where the price that it takes is not declared.

    serving_hour: as `Costs` declares it. An endpoint is paid by its tokens, a model that runs here by its seconds.
    """
    if isinstance(model, Endpoint):
        if model.price_in is None or model.price_out is None:
            return None
        tokens = float(answer.tokens_in), float(answer.tokens_out)
        return token_price(*tokens, price_in=model.price_in, price_out=model.price_out)
    return None if serving_hour is None else machine_price(answer.seconds, serving_hour=serving_hour)


def _money(side: Requests, serving_hour: float | None) -> SystemScores:
    if side.price_in is not None and side.price_out is not None and side.hosted:
        costs = token_price(side.tokens_in, side.tokens_out, price_in=side.price_in, price_out=side.price_out)
        return SystemScores(side.system, side.sample_ids, costs, clusters=side.clusters)
    assert serving_hour is not None
    return _by_time(side, machine_price(side.seconds, serving_hour=serving_hour))


def _by_time(side: Requests, costs: FloatArray) -> SystemScores:
    """Return costs that are seconds, or come from them: their doubt is that of the batches."""
    batches = side.batches or ((None,) * len(side.sample_ids),) * len(costs)
    details = tuple(tuple({TIMED_IN_BATCH: batch} for batch in row) for row in batches)
    return SystemScores(side.system, side.sample_ids, costs, details=details, clusters=side.clusters)


def basis_of(priced: Priced | None, baseline: Requests, tuned: Requests) -> str:
    """Return how the costs were counted, in words."""
    if priced is None:
        return "prices are unknown"
    if priced.currency == "seconds":
        return "in seconds of this machine, a request its share of the batch's time"
    if not (baseline.hosted or tuned.hosted):
        return "in money, by seconds of this machine"
    said = [
        f"{side.system} by {'its price a token' if side.hosted else 'seconds of this machine'}"
        for side in (baseline, tuned)
    ]
    return f"in money: {' and '.join(said)}"
