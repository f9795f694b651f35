"""After how many requests a training run has paid for itself."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from harness.compare import DEFAULT_LEVEL, Comparison, compare
from harness.insights.estimate import Estimate
from harness.insights.pricing import Currency, Priced, Requests, basis_of, missing_prices, priced
from harness.protocols import Direction
from harness.samples import Split
from harness.stats.intervals import Interval
from harness.stats.projection import Projection
from harness.stats.wording import about, confidence, mean_text, rounded, span

_MOST_SAMPLES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Payback:
    """Training cost against what one request saves.

    currency: "money" (that of the declared prices) or "seconds" (of this machine). Costs and the saving are for one
    request, the saving paired by sample; they are None where prices are unknown or cannot be compared, as notes say.
    baseline_tokens, tuned_tokens: mean tokens of a request, prompt and answer. requests: requests until payback;
    infinite (null in JSON) where the saving may be nothing; None where unknown. basis: how costs are counted.
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


@dataclass(frozen=True)
class _RequestCost:
    name: ClassVar[str] = "cost of a request"
    better: ClassVar[Direction] = "lower"
    unit: ClassVar[str] = ""


def payback(
    *,
    baseline: Requests,
    tuned: Requests,
    training_seconds: float,
    training_hour: float | None = None,
    serving_hour: float | None = None,
    level: float = DEFAULT_LEVEL,
) -> Payback:
    """Return after how many requests like these the tuned system has earned its training.

    training_seconds: of the run that would be shipped, the mean of the seeds. training_hour, serving_hour: money for
    an hour of one's own machine, as `Costs` declares it. Money is counted where all that is used has a price;
    else two local systems are compared in seconds of this machine; else the payback is unknown, and notes name the
    price that is missing. The interval is that of the saving: training is taken as measured.

    Raises Incomparable where the two systems answered different samples.
    """
    missing = missing_prices((baseline, tuned), training_hour, serving_hour)
    paid = priced((baseline, tuned), training_hour, serving_hour, missing)
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
        requests=_until_paid(training_cost, saving) if training_cost is not None and saving else None,
        samples=len(tuned.sample_ids),
        level=level,
        basis=basis_of(paid, baseline, tuned),
        notes=_notes(paid, missing, (training_hour, serving_hour)),
        sentence="",
        baseline_tokens=baseline.tokens,
        tuned_tokens=tuned.tokens,
    )
    return replace(made, sentence=_sentence(made))


def as_comparison(found: Payback) -> Comparison:
    """Return the requests until payback as the comparison that the criterion BreakEven judges.

    An unknown payback is anywhere from 0 to infinity, which neither meets nor fails it.
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
        notes=found.notes,
        unit="requests",
        level=found.level,
        projection=_projection(found),
    )


def _projection(found: Payback) -> Projection | None:
    """Return what the requests would be if the saving were known from more samples, its interval scaled with them."""
    cost, saving, samples = found.training_cost, found.saving, found.samples
    if cost is None or saving is None:
        return None

    def requests(units: int) -> Interval:
        root, value = math.sqrt(samples / units), saving.value
        ends = (value - (value - saving.low) * root, value + (saving.high - value) * root)
        paid = _until_paid(cost, Estimate(value, *ends))
        return Interval(paid.low, paid.high)

    return Projection(samples, samples, requests, requests, most=_MOST_SAMPLES)


def _until_paid(training_cost: float, saving: Estimate) -> Estimate:
    value, low, high = (
        training_cost / gained if gained > 0 else math.inf for gained in (saving.value, saving.high, saving.low)
    )
    return Estimate(value, low, high)


def _notes(paid: Priced | None, missing: tuple[str, ...], hours: tuple[float | None, float | None]) -> tuple[str, ...]:
    if paid is None:
        return (*missing, "an endpoint's seconds are not this machine's, so they cannot stand for money")
    # Without any price nobody asked for money.
    return missing if paid.currency == "seconds" and hours != (None, None) else ()


def _sentence(found: Payback) -> str:
    if found.requests is None or found.saving is None or found.baseline_cost is None or found.tuned_cost is None:
        return f"When training pays for itself is unknown: {'; '.join(found.notes)}."
    unit = "s" if found.currency == "seconds" else ""
    before, after = (rounded(1000 * cost.value, unit=unit) for cost in (found.baseline_cost, found.tuned_cost))
    saving = mean_text(1000 * found.saving.value, 1000 * found.saving.low, 1000 * found.saving.high, unit=unit)
    said = (
        f"A thousand requests cost {before} with {found.baseline} and {after} with {found.tuned}, {found.basis} "
        f"({found.baseline_tokens:,.0f} tokens a request against {found.tuned_tokens:,.0f}); training cost "
        f"{rounded(found.training_cost or 0.0, unit=unit)}. The saving is {saving}, so {_paid(found.requests)} "
        f"({confidence(found.level)} interval)."
    )
    return " ".join([said, *(f"{note[0].upper()}{note[1:]}: seconds stand for money." for note in found.notes[:1])])


def _paid(requests: Estimate) -> str:
    if math.isinf(requests.low):
        return "training is never paid back"
    if math.isinf(requests.value):
        return f"training is not paid back, at best after {about(requests.low)} requests"
    high = "maybe never" if math.isinf(requests.high) else about(requests.high)
    return f"training is paid back after about {about(requests.value)} requests{span(about(requests.low), high)}"


__all__ = ["Payback", "Requests", "as_comparison", "payback"]
