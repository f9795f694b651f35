"""The rules that turn evidence into a verdict: one interval against one threshold each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from harness.compare import Comparison
from harness.errors import Incomparable, InvalidExperiment
from harness.protocols import Direction, Named, Task
from harness.stats.power import needed_samples, needed_seeds
from harness.stats.wording import amount, change, count, difference_text, mean_text, rounded

Status = Literal["met", "failed", "open"]
Side = Literal["above", "below"]

_Z = 1.959963984540054  # Half-width of a 95 % interval in standard errors.


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one criterion says about the evidence.

    criterion: the rule in words. value, low, high: the difference (tuned minus baseline), or the tuned mean where
    the rule is about that, in score units as measured; threshold: on the same scale. good_side: where the interval
    must lie. unit: as in Comparison. sentence: for a reader, with numbers. needed_samples: holdout size that would
    decide with 80 % power, when open; None where more samples would not.
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


@runtime_checkable
class Criterion(Protocol):
    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics it needs; checked against `Experiment.metrics` at collection."""
        ...

    def judge(self, comparisons: Sequence[Comparison]) -> Finding: ...


@dataclass(frozen=True)
class Gain:
    """The tuned system is better by `at_least`, in score units (0.05 is five points of a fraction).

    Better is more or less, as the metric says. `at_least=0` asks for any gain: then an interval that touches 0
    does not meet it. For "may be a little worse" use NoWorse.
    """

    metric: Named
    at_least: float

    def __post_init__(self) -> None:
        _validate("Gain", self.metric, "at_least", self.at_least)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric.name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Raises Incomparable where the metric was not compared."""
        comparison = _comparison_of(self.metric.name, comparisons)
        verb = "rise" if self.metric.better == "higher" else "fall"
        size = f" of at least {change(self.at_least, unit=comparison.unit, sign=False)}" if self.at_least else ""
        threshold = self.at_least if self.metric.better == "higher" else -self.at_least
        return _about_difference(
            comparison, f"a {verb}{size}", threshold, _good_side(self.metric.better), beyond=self.at_least == 0
        )


@dataclass(frozen=True)
class NoWorse:
    """The tuned system is worse by at most `by_at_most` >= 0, in score units."""

    metric: Named
    by_at_most: float

    def __post_init__(self) -> None:
        _validate("NoWorse", self.metric, "by_at_most", self.by_at_most)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric.name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Raises Incomparable where the metric was not compared."""
        return _no_worse(_comparison_of(self.metric.name, comparisons), self.by_at_most)


@dataclass(frozen=True)
class AtLeast:
    """The system's own mean is `value` or more, whatever the baseline does."""

    metric: Named
    value: float

    def __post_init__(self) -> None:
        _validate("AtLeast", self.metric, "value", self.value, least=-math.inf)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric.name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Raises Incomparable where the metric was not measured."""
        return _about_mean(_comparison_of(self.metric.name, comparisons), self.value, "above")


@dataclass(frozen=True)
class AtMost:
    """The system's own mean is `value` or less, whatever the baseline does."""

    metric: Named
    value: float

    def __post_init__(self) -> None:
        _validate("AtMost", self.metric, "value", self.value, least=-math.inf)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric.name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Raises Incomparable where the metric was not measured."""
        return _about_mean(_comparison_of(self.metric.name, comparisons), self.value, "below")


@dataclass(frozen=True)
class Guard:
    """A second task on which the tuned system may be worse by at most `by_at_most` >= 0: what must not be forgotten.

    Its comparison is named `comparison_name`, since the main task may use the same metric.
    """

    task: Task
    metric: Named
    by_at_most: float

    def __post_init__(self) -> None:
        if isinstance(self.task, type) or not isinstance(self.task, Task):
            raise InvalidExperiment(f"Guard(task={self.task!r}): pass a task object, such as DatasetTask(...)")
        _validate("Guard", self.metric, "by_at_most", self.by_at_most)

    @property
    def comparison_name(self) -> str:
        return f"{self.task.name}: {self.metric.name}"

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.comparison_name,)

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        """Raises Incomparable where the guard's task was not compared."""
        return _no_worse(_comparison_of(self.comparison_name, comparisons), self.by_at_most)


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
    return _about_difference(comparison, demand, threshold, _good_side(comparison.better))


def _good_side(better: Direction) -> Side:
    return "above" if better == "higher" else "below"


def _about_difference(
    comparison: Comparison, demand: str, threshold: float, good_side: Side, *, beyond: bool = False
) -> Finding:
    c, unit = comparison, comparison.unit
    shown = difference_text(c.difference, c.low, c.high, unit=unit, samples=c.samples, seeds=c.seeds)
    before, after = rounded(c.baseline_mean, unit=unit), rounded(c.tuned_mean, unit=unit)
    status = _status(c.low, c.high, threshold, good_side, beyond=beyond)
    distance = abs(c.difference - threshold)
    needed, outlook = _outlook(c, distance, c.spread) if status == "open" else (None, "")
    return Finding(
        criterion=f"{c.metric}: {demand}",
        metric=c.metric,
        status=status,
        value=c.difference,
        low=c.low,
        high=c.high,
        threshold=threshold,
        sentence=f"{c.metric} went from {before} to {after}: {shown}. {_conclusion(status, demand)}{outlook}",
        needed_samples=needed,
        good_side=good_side,
        unit=unit,
    )


def _about_mean(comparison: Comparison, threshold: float, good_side: Side) -> Finding:
    c, unit = comparison, comparison.unit
    shown = mean_text(c.tuned_mean, c.tuned_low, c.tuned_high, unit=unit, samples=c.samples, seeds=c.seeds)
    demand = f"at {'least' if good_side == 'above' else 'most'} {amount(threshold, unit=unit)}"
    status = _status(c.tuned_low, c.tuned_high, threshold, good_side)
    # The side towards the threshold: intervals near 0 and 1 are lopsided.
    side = c.tuned_mean - c.tuned_low if threshold < c.tuned_mean else c.tuned_high - c.tuned_mean
    spread = side / _Z * math.sqrt(c.samples)
    needed, outlook = _outlook(c, abs(c.tuned_mean - threshold), spread) if status == "open" else (None, "")
    return Finding(
        criterion=f"{c.metric}: {demand}",
        metric=c.metric,
        status=status,
        value=c.tuned_mean,
        low=c.tuned_low,
        high=c.tuned_high,
        threshold=threshold,
        sentence=f"{c.metric} of {c.tuned} is {shown}. {_conclusion(status, demand)}{outlook}",
        needed_samples=needed,
        good_side=good_side,
        unit=unit,
    )


def _status(low: float, high: float, threshold: float, good_side: Side, *, beyond: bool = False) -> Status:
    """beyond: the threshold itself is not good enough, as for a gain of 0."""
    if good_side == "below":
        low, high, threshold = -high, -low, -threshold
    if low > threshold or (low == threshold and not beyond):
        return "met"
    return "failed" if high < threshold or (high == threshold and beyond) else "open"


def _conclusion(status: Status, demand: str) -> str:
    if status == "met":
        return f"The whole 95 % interval shows {demand}."
    if status == "failed":
        return f"The whole 95 % interval misses {demand}."
    return f"The 95 % interval neither shows nor rules out {demand}"


def _outlook(comparison: Comparison, distance: float, spread: float) -> tuple[int | None, str]:
    """Return the holdout size that would decide, and the end of the sentence that says so."""
    needed = needed_samples(distance, spread)
    seeds = needed_seeds(distance, comparison.seed_spread) if comparison.seeds > 1 else None
    more_seeds = f"about {count(seeds, 'seed')}" if seeds is not None and seeds > comparison.seeds else ""
    if needed is not None and needed <= comparison.samples:
        # The samples suffice by themselves: it is the seeds, or the caution of a small-sample interval.
        needed = None if more_seeds else comparison.samples + 1
    if needed is None:
        end = f"it would take {more_seeds}." if more_seeds else "no number of samples would decide at this result."
        return None, f"; {end}"
    samples = f"about {count(needed, 'holdout sample')}"
    both = f"{samples} and {more_seeds}" if more_seeds else samples
    return needed, f"; {both} would decide (80 % power at the observed difference and spread)."
