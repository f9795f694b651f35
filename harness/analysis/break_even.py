"""After how many requests a training run has paid for itself.

What requests cost: in money where all that is used has a price, else in seconds of this machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

from harness.analysis.estimate import Estimate
from harness.stats.compare import DEFAULT_LEVEL, Comparison, SystemScores, compare
from harness.stats.intervals import Interval
from harness.stats.projection import Projection
from harness.stats.wording import about, confidence, mean_text, rounded, span
from harness.types.models import Costs
from harness.types.protocols import Direction, FloatArray
from harness.types.samples import TIMED_IN_BATCH, Split

Currency = Literal["money", "seconds"]
_HOUR = 3600.0
_NO_COSTS = Costs()
_PRICED_TOKENS = 1_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Requests:
    """What one system's requests took on the samples of one split: every array has shape (seeds, n).

    Args:
        hosted: An endpoint answers, whose seconds cost nothing here.
        price_in, price_out: Its money for a million tokens.
        clusters: `Sample.cluster` a sample; may be empty.
        batches: For each seed and sample the batch whose time was dealt out evenly over its answers, None if an
            answer was timed by itself; may be empty.
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
class PricedSides:
    """training_second: what a second of training costs; costs: those of each request, baseline first."""

    currency: Currency
    training_second: float
    costs: tuple[SystemScores, SystemScores]


def missing_prices(sides: tuple[Requests, Requests], costs: Costs) -> tuple[str, ...]:
    """Return, in words, each price that counting in money lacks; empty if none does."""
    missing = [
        f"{side.system} answers from an endpoint without price_in and price_out"
        for side in sides
        if side.hosted and (side.price_in is None or side.price_out is None)
    ]
    if costs.training_hour is None:
        missing.append("Costs(training_hour=...) is not declared")
    if costs.serving_hour is None and not all(side.hosted for side in sides):
        missing.append("Costs(serving_hour=...) is not declared")
    return tuple(missing)


def priced(sides: tuple[Requests, Requests], costs: Costs, missing: Sequence[str]) -> PricedSides | None:
    """Price both sides: in money if nothing is missing, else in seconds; None if seconds cannot stand for it.

    Args:
        missing: As `missing_prices` returns it. An endpoint's seconds are its own machine's, and cost nothing here.
    """
    if not missing:
        assert costs.training_hour is not None
        before, after = (_money(side, costs.serving_hour) for side in sides)
        return PricedSides("money", costs.training_hour / _HOUR, (before, after))
    if any(side.hosted for side in sides):
        return None
    return PricedSides("seconds", 1.0, (_by_time(sides[0], sides[0].seconds), _by_time(sides[1], sides[1].seconds)))


Numbers = TypeVar("Numbers", float, FloatArray)


def token_price(tokens_in: Numbers, tokens_out: Numbers, *, price_in: float, price_out: float) -> Numbers:
    """Return what answers of an endpoint cost. price_in, price_out: money for a million tokens."""
    return (price_in * tokens_in + price_out * tokens_out) / _PRICED_TOKENS


def machine_price(seconds: Numbers, *, serving_hour: float) -> Numbers:
    """Return what answers of one's own machine cost. serving_hour: money for an hour of it."""
    return seconds * (serving_hour / _HOUR)


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


def basis_of(priced: PricedSides | None, baseline: Requests, tuned: Requests) -> str:
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


_MOST_SAMPLES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The primary metric of both systems on the holdout. loss: what go_if allows, 0 or more, in score units.

    Args:
        standing: "worse": the whole interval is beyond that loss; "no worse": none of it; else "open".
    """

    metric: str
    unit: str
    loss: float
    baseline_mean: float
    tuned_mean: float
    difference: Estimate
    standing: Literal["no worse", "worse", "open"]


def quality_of(found: Comparison, *, loss: float = 0.0) -> Quality:
    """Return whether the tuned answers are worse than the baseline's by more than `loss` >= 0."""
    low, high = (found.low, found.high) if found.better == "higher" else (-found.high, -found.low)
    return Quality(
        metric=found.metric,
        unit=found.unit,
        loss=loss,
        baseline_mean=found.baseline_mean,
        tuned_mean=found.tuned_mean,
        difference=Estimate(found.difference, found.low, found.high),
        standing="no worse" if low >= -loss else "worse" if high < -loss else "open",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Payback:
    """Training cost against what one request saves.

    Args:
        currency: "money" (that of the declared prices) or "seconds" (of this machine). Costs and the saving are for
            one request, the saving paired by sample; they are None if prices are unknown or cannot be compared,
            as notes say.
        baseline_tokens, tuned_tokens: Mean tokens of a request, prompt and answer.
        requests: Requests until payback; infinite (null in JSON) where the saving may be nothing; None if
            unknown.
        basis: How costs are counted.
        quality: How the answers compare, None if it was not asked. Nothing is paid back by worse answers:
            requests are then infinite, and where it is open whether they are worse, the high end is.
    """

    baseline: str
    tuned: str
    currency: Currency
    training_seconds: float
    training_cost: float | None
    baseline_cost: Estimate | None
    tuned_cost: Estimate | None
    saving: Estimate | None
    requests: Estimate | None
    samples: int
    level: float
    basis: str
    notes: tuple[str, ...]
    sentence: str
    baseline_tokens: float = 0.0
    tuned_tokens: float = 0.0
    quality: Quality | None = None


@dataclass(frozen=True)
class _RequestCost:
    name: ClassVar[str] = "cost of a request"
    better: ClassVar[Direction] = "lower"
    unit: ClassVar[str] = ""


def payback(
    sides: tuple[Requests, Requests],
    *,
    training_seconds: float,
    costs: Costs = _NO_COSTS,
    level: float = DEFAULT_LEVEL,
    quality: Quality | None = None,
) -> Payback:
    """Return after how many requests like these the tuned system has earned its training.

    Args:
        sides: The baseline's requests, then the tuned system's.
        training_seconds: Of the run that would be shipped, the mean of the seeds. Money is counted where all that
            is used has a price; else two local systems are compared in seconds of this machine; else the payback is
            unknown, and notes name the price that is missing. The interval is that of the saving: training is taken
            as measured.
        quality: As in Payback.

    Raises:
        Incomparable: If the two systems answered different samples.
    """
    baseline, tuned = sides
    missing = missing_prices(sides, costs)
    paid = priced(sides, costs, missing)
    found = paid and compare(
        _RequestCost(), split=Split.HOLDOUT.value, baseline=paid.costs[0], tuned=paid.costs[1], level=level
    )
    training_cost = training_seconds * paid.training_second if paid else None
    saving = Estimate(-found.difference, -found.high, -found.low) if found else None
    made = Payback(
        baseline=baseline.system,
        tuned=tuned.system,
        currency=paid.currency if paid else "money",
        training_seconds=training_seconds,
        training_cost=training_cost,
        baseline_cost=Estimate(found.baseline_mean, found.baseline_low, found.baseline_high) if found else None,
        tuned_cost=Estimate(found.tuned_mean, found.tuned_low, found.tuned_high) if found else None,
        saving=saving,
        requests=until_paid(training_cost, saving, quality) if training_cost is not None and saving else None,
        samples=len(tuned.sample_ids),
        level=level,
        basis=basis_of(paid, baseline, tuned),
        notes=_notes(paid, missing, costs),
        sentence="",
        baseline_tokens=baseline.tokens,
        tuned_tokens=tuned.tokens,
        quality=quality,
    )
    return replace(made, sentence=_sentence(made))


def as_comparison(found: Payback) -> Comparison:
    """Return the requests until payback as the comparison that the criterion BreakEven judges.

    An unknown payback is anywhere from 0 to infinity, which neither meets nor fails it. notes: what stands against
    the payback, or what its interval lacks.
    """
    requests = found.requests or Estimate(math.inf, 0.0, math.inf)
    return Comparison(
        metric="break_even",
        better="lower",
        split=Split.HOLDOUT.value,
        baseline=found.baseline,
        tuned=found.tuned,
        baseline_mean=0.0,
        baseline_low=0.0,
        baseline_high=0.0,
        tuned_mean=requests.value,
        tuned_low=requests.low,
        tuned_high=requests.high,
        difference=requests.value,
        low=requests.low,
        high=requests.high,
        p_value=1.0,
        samples=found.samples,
        seeds=1,
        spread=math.inf,
        method=f"training cost over the paired saving of a request; {found.basis}",
        notes=(*_doubts(found), *found.notes),
        unit="requests",
        level=found.level,
        projection=_projection(found),
    )


def _projection(found: Payback) -> Projection | None:
    """Return what the requests would be if the saving were known from more samples, its interval scaled with them.

    None if more samples would not settle it: the doubt is the answers', or that of times which were not measured.
    """
    cost, saving, samples, quality = found.training_cost, found.saving, found.samples, found.quality
    if cost is None or saving is None or math.isinf(saving.low) or math.isinf(saving.high):
        return None
    if quality is not None and quality.standing != "no worse":
        return None

    def requests(units: int) -> Interval:
        root, value = math.sqrt(samples / units), saving.value
        ends = (value - (value - saving.low) * root, value + (saving.high - value) * root)
        paid = until_paid(cost, Estimate(value, *ends), quality)
        return Interval(paid.low, paid.high)

    return Projection(samples, samples, requests, requests, most=_MOST_SAMPLES)


def until_paid(training_cost: float, saving: Estimate, quality: Quality | None) -> Estimate:
    """Return the requests after which the saving has earned the training; never by answers that are worse."""
    if quality is not None and quality.standing == "worse":
        return Estimate(math.inf, math.inf, math.inf)
    value, low, high = (
        training_cost / gained if gained > 0 else math.inf for gained in (saving.value, saving.high, saving.low)
    )
    return Estimate(value, low, high if quality is None or quality.standing == "no worse" else math.inf)


def _notes(paid: PricedSides | None, missing: tuple[str, ...], costs: Costs) -> tuple[str, ...]:
    if paid is None:
        return (*missing, "an endpoint's seconds are not this machine's, so they cannot stand for money")
    # Without any price nobody asked for money.
    return missing if paid.currency == "seconds" and costs != _NO_COSTS else ()


def _doubts(found: Payback) -> tuple[str, ...]:
    quality, saving = found.quality, found.saving
    doubts = []
    if quality is not None and quality.standing == "worse":
        before, after = (rounded(mean, unit=quality.unit) for mean in (quality.baseline_mean, quality.tuned_mean))
        doubts.append(f"nothing is paid back by worse answers: {quality.metric} went from {before} to {after}")
    if quality is not None and quality.standing == "open":
        moved = quality.difference.as_difference(quality.unit)
        doubts.append(
            f"it is not shown that the answers are no worse: {quality.metric} {moved}; a NoWorse in go_if says what "
            "loss would do"
        )
    if saving is not None and math.isinf(saving.low) and math.isinf(saving.high):
        doubts.append(
            "how much the time of a request varies was not measured, since answers shared the time of a batch: "
            "Latency(one_at_a_time=True) in metrics measures it"
        )
    return tuple(doubts)


def _sentence(found: Payback) -> str:
    if found.requests is None or found.saving is None or found.baseline_cost is None or found.tuned_cost is None:
        return f"When training pays for itself is unknown: {'; '.join(found.notes)}."
    unit = "s" if found.currency == "seconds" else ""
    before, after = (rounded(1000 * cost.value, unit=unit) for cost in (found.baseline_cost, found.tuned_cost))
    saving = mean_text(1000 * found.saving.value, 1000 * found.saving.low, 1000 * found.saving.high, unit=unit)
    known = "" if not found.requests.low else f" ({confidence(found.level)} interval)"
    said = (
        f"A thousand requests cost {before} with {found.baseline} and {after} with {found.tuned}, {found.basis} "
        f"({found.baseline_tokens:,.0f} tokens a request against {found.tuned_tokens:,.0f}); training cost "
        f"{rounded(found.training_cost or 0.0, unit=unit)}. The saving is {saving}, so {_paid(found.requests)}{known}."
    )
    prices = [f"{note[0].upper()}{note[1:]}: seconds stand for money." for note in found.notes[:1]]
    return " ".join([said, *(f"{doubt[0].upper()}{doubt[1:]}." for doubt in _doubts(found)), *prices])


def _paid(requests: Estimate) -> str:
    if math.isinf(requests.low):
        return "training is never paid back"
    if math.isinf(requests.value):
        best = f", at best after {about(requests.low)} requests" if requests.low else ""
        return f"training is not paid back{best}"
    if not requests.low:
        return f"training would be paid back after about {about(requests.value)} requests"
    high = "maybe never" if math.isinf(requests.high) else about(requests.high)
    return f"training is paid back after about {about(requests.value)} requests{span(about(requests.low), high)}"
