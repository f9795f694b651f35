"""The rules that turn evidence into a verdict: one interval against one threshold each.

What a rule says about one comparison: an interval against a threshold, in words and in samples that would decide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Protocol, runtime_checkable

from harness.errors import Incomparable, InvalidExperiment
from harness.stats.compare import DEFAULT_LEVEL, SECONDS, Comparison
from harness.stats.intervals import Interval
from harness.stats.power import needed_seeds
from harness.stats.projection import At, Projection, units_that_decide
from harness.stats.wording import about, amount, change, confidence, count, difference_text, mean_text, rounded, span
from harness.types.codec import APART
from harness.types.protocols import Direction, Named, OnlyWeighed, Task, needs_likelihood

Status = Literal["met", "failed", "open"]
Side = Literal["above", "below"]
About = Literal["difference", "mean", "requests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one criterion says about the evidence.

    Attributes:
        criterion: The rule in words.
        metric: The name of what was compared.
        status: "open" if the interval holds the threshold.
        value: The difference (tuned minus baseline), or the tuned mean if the rule is about that, in score units.
        low: The interval's lower end.
        high: Its upper end.
        threshold: On the same scale.
        sentence: For a reader, with numbers.
        needed_samples: Holdout size at which an open interval would decide if the samples to come are like those seen;
            None if more samples would not.
        good_side: Where the interval must lie.
        unit: As in `Comparison`.
        level: Confidence of the interval.
        about: What value and threshold are: the difference, the tuned mean, or requests until payback.
    """

    criterion: str
    metric: str
    status: Status
    value: float
    low: float
    high: float
    threshold: float
    sentence: str
    needed_samples: int | None = None
    good_side: Side = "above"
    unit: str = ""
    level: float = DEFAULT_LEVEL
    about: About = field(default="difference", metadata=APART)


def about_difference(comparison: Comparison, demand: str, threshold: float, *, beyond: bool = False) -> Finding:
    """Return the finding that the difference is on the good side of `threshold`.

    Args:
        comparison: What was measured.
        demand: The criterion in words.
        threshold: In score units.
        beyond: The threshold itself is not good enough, as for a gain of 0.
    """
    c, unit = comparison, comparison.unit
    shown = difference_text(c.difference, c.low, c.high, unit=unit, of=c.counts)
    said = f"{c.metric} went from {rounded(c.baseline_mean, unit=unit)} to {rounded(c.tuned_mean, unit=unit)}: {shown}."
    asked = _Asked(threshold, _good_side(c.better), c.difference, Interval(c.low, c.high), beyond)
    return _finding(c, demand, asked, said)


def about_mean(comparison: Comparison, threshold: float, good_side: Side) -> Finding:
    """Return the finding that the tuned system's own mean is on the good side of `threshold`."""
    c, unit = comparison, comparison.unit
    shown = mean_text(c.tuned_mean, c.tuned_low, c.tuned_high, unit=unit, of=c.counts)
    demand = f"at {'least' if good_side == 'above' else 'most'} {amount(threshold, unit=unit)}"
    asked = _Asked(threshold, good_side, c.tuned_mean, Interval(c.tuned_low, c.tuned_high), about="mean")
    return _finding(c, demand, asked, f"{c.metric} of {c.tuned} is {shown}.")


def about_break_even(comparison: Comparison, requests: float) -> Finding:
    """Return the finding that training has paid for itself within `requests`: the whole interval lies there."""
    c = comparison
    demand = f"payback within {amount(requests, unit='requests')}"
    if c.tuned_low == math.inf:
        said = "Training never pays for itself."
    elif c.tuned_mean == math.inf:
        said = "Training has not paid for itself in what was measured."
    elif c.tuned_low == 0:
        said = f"Training would have paid for itself after about {about(c.tuned_mean)} requests."
    else:
        shown = f"about {about(c.tuned_mean)} requests{span(about(c.tuned_low), about(c.tuned_high))}"
        said = f"Training has paid for itself after {shown}."
    asked = _Asked(requests, "below", c.tuned_mean, Interval(c.tuned_low, c.tuned_high), about="requests")
    found = _finding(c, demand, asked, said)
    notes = (f"{note[0].upper()}{note[1:]}." for note in c.notes)
    return replace(found, sentence=" ".join([found.sentence, *notes]), unit="requests")


def _finding(comparison: Comparison, demand: str, asked: "_Asked", said: str) -> Finding:
    """Return what is found of `demand`; `said` is what was measured."""
    c, status = comparison, asked.status(asked.interval)
    needed, outlook = None, ""
    if status == "open":
        unknown = asked.about == "requests" and c.projection is None
        needed, outlook = (None, ".") if unknown else _outlook(c, asked)
    return Finding(
        criterion=f"{c.metric}: {demand}",
        metric=c.metric,
        status=status,
        value=asked.value,
        low=asked.interval.low,
        high=asked.interval.high,
        threshold=asked.threshold,
        sentence=f"{said} {_conclusion(status, demand, c.level)}{outlook}",
        needed_samples=needed,
        good_side=asked.good_side,
        unit=c.unit,
        level=c.level,
        about=asked.about,
    )


def _conclusion(status: Status, demand: str, level: float) -> str:
    interval = f"{confidence(level)} interval"
    if status == "met":
        return f"The whole {interval} shows {demand}."
    if status == "failed":
        return f"The whole {interval} misses {demand}."
    return f"The {interval} neither shows nor rules out {demand}"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an interval is held against: the threshold, the side where it must lie, and what was measured."""

    threshold: float
    good_side: Side
    value: float
    interval: Interval
    beyond: bool = False
    about: About = "difference"

    def status(self, interval: Interval) -> Status:
        """Return how an interval lies to the threshold. beyond: the threshold itself is not good enough."""
        low, high, threshold = interval.low, interval.high, self.threshold
        if self.good_side == "below":
            low, high, threshold = -high, -low, -threshold
        if low > threshold or (low == threshold and not self.beyond):
            return "met"
        return "failed" if high < threshold or (high == threshold and self.beyond) else "open"

    def decided(self, interval: Interval) -> bool:
        return self.status(interval) != "open"

    def of(self, projection: Projection) -> At:
        """Return which of the projected intervals it is."""
        return projection.difference if self.about == "difference" else projection.own


def _outlook(comparison: Comparison, asked: _Asked) -> tuple[int | None, str]:
    """Return the holdout size that would decide, and the end of the sentence that says so."""
    if comparison.unit == SECONDS and (comparison.spread == 0 or math.isinf(comparison.spread)):
        return None, "; how times vary was not measured: Latency(one_at_a_time=True) times answers by themselves."
    c, distance = comparison, abs(asked.value - asked.threshold)
    whole = c.projection or _as_measured(c, asked.interval)
    samples = whole.one_seed or whole  # how the seeds differ does not change with samples
    suffice = c.seeds > 1 and asked.decided(asked.of(samples)(samples.units))
    units: int | None = samples.units
    if not suffice:
        units = (
            units_that_decide(asked.of(samples), asked.decided, asked.value, units=samples.units, most=samples.most)
            if distance
            else None
        )
    seeds = needed_seeds(distance, c.seed_spread, level=c.level) if c.seeds > 1 else None
    more_seeds = f"about {count(seeds, 'seed')}" if seeds is not None and seeds > c.seeds else ""
    if suffice or units is None:
        end = f"it would take {more_seeds}." if more_seeds else "no number of samples would decide at this result."
        return None, f"; {end}"
    needed = whole.samples_of(units)
    said = f"about {count(needed, 'holdout sample')}"
    said = said if c.groups is None else f"{said} in {count(units, 'group')}"
    both = f"{said} and {more_seeds}" if more_seeds else said
    return needed, f"; {both} would decide, if they show the same difference and spread."


def _as_measured(comparison: Comparison, interval: Interval) -> Projection:
    """Return the projection of a comparison whose scores are not at hand: its interval, to be scaled."""
    units = comparison.groups or comparison.samples
    return Projection(units, comparison.samples, lambda _: interval, lambda _: interval, most=units)


def _good_side(better: Direction) -> Side:
    return "above" if better == "higher" else "below"


BREAK_EVEN = "break_even"  # The name of the comparison that holds the requests until training has paid for itself.


@runtime_checkable
class Criterion(Protocol):
    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics it needs; checked against `Experiment.metrics` at collection."""
        ...

    def judge(self, comparisons: Sequence[Comparison]) -> Finding: ...


@dataclass(frozen=True)
class Gain:
    """The tuned system is better than the baseline by at least `at_least`.

    Better is more or less, as the metric says. To allow a small loss use `NoWorse`.

    Args:
        metric: One of `Experiment.metrics`.
        at_least: In score units, 0 or more: 0.05 is five points of a fraction. With 0 any gain will do, but an interval
            that touches 0 does not meet it.

    Raises:
        InvalidExperiment: If `metric` is no metric, or `at_least` is below 0 or not finite.

    Examples:
        >>> Gain(ExactMatch(), at_least=0.05).metrics
        ('exact_match',)
    """

    metric: Named
    at_least: float

    def __post_init__(self) -> None:
        _validate("Gain", self.metric, "at_least", self.at_least)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric.name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Return the finding; raise Incomparable if the metric was not compared."""
        comparison = _comparison_of(self.metric.name, comparisons)
        verb = "rise" if self.metric.better == "higher" else "fall"
        size = f" of at least {change(self.at_least, unit=comparison.unit, sign=False)}" if self.at_least else ""
        threshold = self.at_least if self.metric.better == "higher" else -self.at_least
        found = about_difference(comparison, f"a {verb}{size}", threshold, beyond=self.at_least == 0)
        if found.status != "met" or abs(found.value) > comparison.noise:
            return found
        said = change(round(comparison.noise, 3), unit=found.unit, sign=False)
        doubt = f"But asking the same system again moves {found.metric} by up to {said}: it may be noise."
        return replace(found, status="open", sentence=f"{found.sentence} {doubt}")


@dataclass(frozen=True)
class NoWorse:
    """The tuned system is worse than the baseline by at most `by_at_most`.

    Args:
        metric: One of `Experiment.metrics`.
        by_at_most: In score units, 0 or more: 0.02 is two points of a fraction.

    Raises:
        InvalidExperiment: If `metric` is no metric, or `by_at_most` is below 0 or not finite.

    Examples:
        >>> NoWorse(SafetyRules(), by_at_most=0.02).metrics
        ('safety_rules',)
    """

    metric: Named
    by_at_most: float

    def __post_init__(self) -> None:
        _validate("NoWorse", self.metric, "by_at_most", self.by_at_most)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric.name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Return the finding; raise Incomparable if the metric was not compared."""
        return _no_worse(_comparison_of(self.metric.name, comparisons), self.by_at_most)


@dataclass(frozen=True)
class _OwnMean:
    metric: Named
    value: float

    good_side: ClassVar[Side]

    def __post_init__(self) -> None:
        _validate(type(self).__name__, self.metric, "value", self.value, least=-math.inf)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric.name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Return the finding; raise Incomparable if the metric was not measured."""
        return about_mean(_comparison_of(self.metric.name, comparisons), self.value, self.good_side)


@dataclass(frozen=True)
class AtLeast(_OwnMean):
    """The system's own mean is `value` or more, whatever the baseline does.

    Args:
        metric: One of `Experiment.metrics`.
        value: In score units.

    Raises:
        InvalidExperiment: If `metric` is no metric, or `value` is not finite.

    Examples:
        >>> AtLeast(Accuracy(), 0.9).metrics
        ('accuracy',)
    """

    good_side = "above"


@dataclass(frozen=True)
class AtMost(_OwnMean):
    """The system's own mean is `value` or less, whatever the baseline does.

    Args:
        metric: One of `Experiment.metrics`.
        value: In score units.

    Raises:
        InvalidExperiment: If `metric` is no metric, or `value` is not finite.

    Examples:
        >>> AtMost(Latency(), 2.0).metrics
        ('latency',)
    """

    good_side = "below"


@dataclass(frozen=True)
class Guard:
    """A second task that the tuned system must not forget.

    Its comparison is named `comparison_name`, since the main task may use the same metric.

    Args:
        task: What must not be forgotten; it is judged on its holdout samples.
        metric: What is compared on it; of a `TextTask` one of likelihoods, such as `Perplexity()`.
        by_at_most: How much worse the tuned system may be, in score units, 0 or more.

    Raises:
        InvalidExperiment: If `task` is no task, `metric` is no metric or does not suit the task, or `by_at_most` is
            below 0 or not finite.

    Examples:
        >>> Guard(TextTask("general", "texts/"), Perplexity(), by_at_most=0.5).comparison_name
        'general: perplexity'
    """

    task: Task
    metric: Named
    by_at_most: float

    def __post_init__(self) -> None:
        if isinstance(self.task, type) or not isinstance(self.task, Task):
            raise InvalidExperiment(f"Guard(task={self.task!r}): pass a task object, such as DatasetTask(...)")
        _validate("Guard", self.metric, "by_at_most", self.by_at_most)
        if isinstance(self.task, OnlyWeighed) and not needs_likelihood(self.metric):
            raise InvalidExperiment(
                f"Guard({self.task.name!r}, {self.metric.name}): nothing is answered there, so give a metric of "
                "likelihoods, such as Perplexity()"
            )

    @property
    def comparison_name(self) -> str:
        return f"{self.task.name}: {self.metric.name}"

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.comparison_name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Return the finding; raise Incomparable if the guard's task was not compared."""
        return _no_worse(_comparison_of(self.comparison_name, comparisons), self.by_at_most)


@dataclass(frozen=True)
class BreakEven:
    """Training has paid for itself within `requests`, by what each request saves against the baseline.

    Judges the comparison named "break_even", whose tuned mean and interval are requests until payback; an end is
    infinite if a request may save nothing. It needs prices: `Experiment.costs`, or those of a hosted model.

    Args:
        requests: How many at most, above 0.

    Raises:
        InvalidExperiment: If `requests` is not a number above 0.

    Examples:
        >>> BreakEven(requests=100_000).requests
        100000
    """

    requests: float

    def __post_init__(self) -> None:
        number = self.requests
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            raise InvalidExperiment(f"BreakEven(requests={number!r}): give a number above 0, such as 100_000 requests")

    @property
    def metrics(self) -> tuple[str, ...]:
        return ()

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Return the finding; raise Incomparable if the costs were not compared."""
        if all(comparison.metric != BREAK_EVEN for comparison in comparisons):
            raise Incomparable("BreakEven needs costs to compare; give the experiment costs=Costs(...)")
        return about_break_even(_comparison_of(BREAK_EVEN, comparisons), self.requests)


def _validate(rule: str, metric: object, field: str, number: object, *, least: float = 0.0) -> None:
    if isinstance(metric, type):
        raise InvalidExperiment(f"{rule}({metric.__name__}): pass a metric object, {metric.__name__}()")
    if not isinstance(metric, Named):
        raise InvalidExperiment(f"{rule}({metric!r}): a metric has `name` and `better`; pass one, such as ExactMatch()")
    if metric.better not in ("higher", "lower"):
        raise InvalidExperiment(f'{rule}({metric.name}): better is {metric.better!r}; it is "higher" or "lower"')
    said = f"{rule}({metric.name}, {field}={number!r})"
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise InvalidExperiment(f"{said}: give a finite number in the metric's units, such as 0.02 for two points")
    if number < least:
        way = "use NoWorse to allow a loss" if rule == "Gain" else "use Gain to ask for a gain"
        raise InvalidExperiment(f"{said} is below 0: {way}")


def _comparison_of(name: str, comparisons: Sequence[Comparison]) -> Comparison:
    found = [comparison for comparison in comparisons if comparison.metric == name]
    if len(found) == 1:
        return found[0]
    if not found:
        measured = ", ".join(sorted({comparison.metric for comparison in comparisons})) or "nothing"
        raise Incomparable(f"a criterion needs {name}, but what was compared is {measured}; add it to metrics")
    raise Incomparable(f"{len(found)} comparisons are named {name}; give a criterion those of one pair and one split")


def _no_worse(comparison: Comparison, by_at_most: float) -> Finding:
    higher = comparison.better == "higher"
    verb = "fall" if higher else "rise"
    size = change(by_at_most, unit=comparison.unit, sign=False)
    demand = f"a {verb} of at most {size}" if by_at_most else f"no {verb}"
    threshold = -by_at_most if higher else by_at_most
    return about_difference(comparison, demand, threshold)


__all__ = ["BREAK_EVEN", "AtLeast", "AtMost", "BreakEven", "Criterion", "Finding", "Gain", "Guard", "NoWorse"]
