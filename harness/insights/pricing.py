"""What requests cost: in money where all that is used has a price, else in seconds of this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.compare import SystemScores
from harness.protocols import FloatArray

Currency = Literal["money", "seconds"]
_HOUR = 3600.0
_PRICED_TOKENS = 1_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Requests:
    """What one system's requests took on the samples of one split: every array has shape (seeds, n).

    hosted: an endpoint answers, whose seconds cost nothing here; price_in, price_out: its money for a million tokens.
    clusters: `Sample.cluster` a sample; may be empty.
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
        costs = tuple(_scores(side, _money(side, serving_hour)) for side in sides)
        return Priced("money", training_hour / _HOUR, (costs[0], costs[1]))
    if any(side.hosted for side in sides):
        return None
    return Priced("seconds", 1.0, (_scores(sides[0], sides[0].seconds), _scores(sides[1], sides[1].seconds)))


def _money(side: Requests, serving_hour: float | None) -> FloatArray:
    if side.price_in is not None and side.price_out is not None and side.hosted:
        return (side.price_in * side.tokens_in + side.price_out * side.tokens_out) / _PRICED_TOKENS
    assert serving_hour is not None
    return side.seconds * (serving_hour / _HOUR)


def _scores(side: Requests, costs: FloatArray) -> SystemScores:
    return SystemScores(side.system, side.sample_ids, costs, clusters=side.clusters)


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
