"""What more training examples would bring: scores at nested fractions of the training data.

Score against training examples: a power law, or a line where two points allow no more.

The curve through a system's scores, and what it foretells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.analysis.estimate import Estimate, Resampled, percentile_estimate, resampled, sample_clusters
from harness.errors import Incomparable
from harness.stats.compare import DEFAULT_LEVEL, Comparison, SystemScores, compare, standing
from harness.stats.wording import FRACTION, about, change, confidence, count, mean_text, rounded, span
from harness.types.protocols import Direction, FloatArray, JudgedMetric, Named, PairMetric
from harness.types.samples import Split

# Learning curves of tuned and pretrained networks lie well within (Hestness et al., arXiv 1712.00409; Rosenfeld et
# al., arXiv 1909.12673). Beyond, the ends of three noisy points would run to a cliff or to a straight line.
EXPONENTS = (0.1, 2.0)
_GRID = 60
_LEAST_RISE = 1e-12  # over all the points: less is rounding


@dataclass(frozen=True)
class Fit:
    """Curves fitted to each of B resamples, best value upwards: goodness = ceiling - amplitude * examples ** -exponent.

    Every array has shape (B,). A line in the logarithm has exponent 0: goodness = ceiling + amplitude * ln(examples).
    """

    ceiling: FloatArray
    amplitude: FloatArray
    exponent: FloatArray

    def at(self, examples: float) -> FloatArray:
        """Return the goodness after so many examples, shape (B,)."""
        line = self.ceiling + self.amplitude * np.log(examples)
        curve = self.ceiling - self.amplitude * np.power(float(examples), -self.exponent)
        return np.where(self.exponent == 0, line, curve)

    def reaching(self, goodness: FloatArray) -> FloatArray:
        """Return how many examples it takes to reach each goodness, shape (B,); infinite if no number does.

        A curve that does not rise gets nowhere, wherever it lies.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            missing = self.ceiling - goodness
            curve = np.exp(np.log(self.amplitude / missing) / self.exponent)
            line = np.exp(-missing / self.amplitude)
        never = (self.amplitude <= 0) | ((self.exponent > 0) & (missing <= 0))
        return np.where(never, np.inf, np.where(self.exponent == 0, line, curve))


def power_laws(examples: FloatArray, goodness: FloatArray, *, most: float) -> Fit:
    """Fit a power law that never falls to each row by least squares, within `EXPONENTS` and below the ceiling `most`.

    Args:
        examples: Shape (points,), at least 3 different.
        goodness: Shape (B, points). For a given exponent the rest is linear, so a grid of exponents is solved
            exactly for all resamples at once: the global least squares, where a search of three parameters ends in
            what it started near.
    """
    exponents = np.geomspace(*EXPONENTS, _GRID)
    best = np.full(len(goodness), np.inf)
    ceiling, amplitude, exponent = (np.zeros(len(goodness)) for _ in range(3))
    for candidate in exponents:
        regressor = -np.power(examples / examples[0], -candidate)  # (points,), scaled: no overflow
        top, slope = _bounded_line(regressor, goodness, most)
        errors = ((goodness - top[:, None] - slope[:, None] * regressor) ** 2).sum(axis=1)
        closer = errors < best - 1e-15
        best = np.where(closer, errors, best)
        ceiling, amplitude = np.where(closer, top, ceiling), np.where(closer, slope, amplitude)
        exponent = np.where(closer, candidate, exponent)
    return Fit(ceiling, amplitude * np.power(examples[0], exponent), exponent)


def curve_lines(examples: FloatArray, goodness: FloatArray) -> Fit:
    """Fit a line in the logarithm of examples to each row, shape (B, points); it may fall."""
    logs = np.log(examples)
    centred = logs - logs.mean()
    slope = goodness @ centred / (centred @ centred)  # (B,)
    return Fit(goodness.mean(axis=1) - slope * logs.mean(), slope, np.zeros(len(goodness)))


def _bounded_line(regressor: FloatArray, goodness: FloatArray, most: float) -> tuple[FloatArray, FloatArray]:
    """Return intercept <= most and slope >= 0 of each row's least squares."""
    centred = regressor - regressor.mean()
    slope = goodness @ centred / (centred @ centred)
    slope = np.where(slope * np.ptp(regressor) > _LEAST_RISE, slope, 0.0)
    top = goodness.mean(axis=1) - slope * regressor.mean()
    if not np.isfinite(most):
        return top, slope
    through = np.maximum((goodness - most) @ regressor / (regressor @ regressor), 0.0)  # the ceiling held at `most`
    over = top > most
    return np.where(over, most, top), np.where(over, through, slope)


HORIZON = 100  # times the data: further out, a curve through a few points says nothing
_DRAWN_POINTS = 40
_DRAWN_BEYOND = 4  # times the data


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveDrawn:
    """The fitted curve at `examples` training examples, with its band; what lies beyond the points is a forecast."""

    examples: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """As the fields of the same name in LearningCurve. fell: all the data scored below a fraction of them, for sure."""

    form: Literal["power law", "line", "none"] = "none"
    fell: bool = False
    ceiling: float | None = None
    amplitude: float | None = None
    exponent: float | None = None
    drawn: tuple[CurveDrawn, ...] = ()
    examples_to_beat: Estimate | None = None
    examples_to_margin: Estimate | None = None
    doubling: Estimate | None = None


@dataclass(frozen=True)
class _Curves:
    """The fit to what was observed, and that to each resample. sign: -1 where lower is better."""

    observed: Fit
    replicates: Fit
    sign: int
    level: float

    def at(self, examples: float) -> Estimate:
        """Return the score after so many examples, in score units."""
        return self._outlook(self.observed.at(examples), self.replicates.at(examples))

    def growth(self, before: float, after: float) -> Estimate:
        observed = self.observed.at(after) - self.observed.at(before)
        return self._outlook(observed, self.replicates.at(after) - self.replicates.at(before))

    def reaching(self, goals: Resampled, fewest: int, horizon: int) -> Estimate:
        """goals: of goodness. What the fewest examples reach already is counted as those."""
        found = _reaching(self.observed, goals.observed, fewest, horizon)
        return percentile_estimate(
            float(found[0]), _reaching(self.replicates, goals.replicates, fewest, horizon), self.level
        )

    def _outlook(self, observed: FloatArray, replicates: FloatArray) -> Estimate:
        return percentile_estimate(self.sign * float(observed[0]), self.sign * replicates, self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aim:
    """sign: -1 where lower is better. most: the best goodness (score times sign) that there is.

    Args:
        at_least: The wanted gain in goodness.
        level: Of the intervals.
    """

    sign: int
    most: float
    at_least: float
    level: float


def forecast(examples: Sequence[int], drawn: Resampled, aim: _Aim) -> Forecast:
    """Fit a power law to three numbers of examples or more, a line to two, nothing to one.

    Args:
        drawn: The scores at each number of examples, ascending, then the baseline's.
    """
    sign, level = aim.sign, aim.level
    if len(examples) < 2:
        return Forecast()
    sizes = np.array(examples, dtype=np.float64)
    observed, replicates = sign * drawn.observed[None, :], sign * drawn.replicates
    law = len(examples) > 2
    fits = [
        power_laws(sizes, goodness, most=aim.most) if law else curve_lines(sizes, goodness)
        for goodness in (observed[:, :-1], replicates[:, :-1])
    ]
    curves = _Curves(fits[0], fits[1], sign, level)
    fewest, largest = examples[0], examples[-1]
    goals = [Resampled(observed[:, -1] + margin, replicates[:, -1] + margin) for margin in (0.0, aim.at_least)]
    beat, margin = (curves.reaching(goal, fewest, HORIZON * largest) for goal in goals)
    grid = np.geomspace(fewest, _DRAWN_BEYOND * largest, _DRAWN_POINTS)
    return Forecast(
        form="power law" if law else "line",
        fell=_fell(observed[0, :-1], replicates[:, :-1], level),
        ceiling=sign * float(fits[0].ceiling[0]) if law else None,
        amplitude=sign * float(fits[0].amplitude[0]) if law else None,
        exponent=float(fits[0].exponent[0]) if law else None,
        drawn=tuple(_drawn_at(curves, float(size)) for size in grid),
        examples_to_beat=beat,
        examples_to_margin=margin,
        doubling=curves.growth(largest, 2 * largest),
    )


def _drawn_at(curves: _Curves, examples: float) -> CurveDrawn:
    there = curves.at(examples)
    return CurveDrawn(examples=examples, mean=there.value, low=there.low, high=there.high)


def _reaching(fit: Fit, goals: FloatArray, fewest: int, horizon: int) -> FloatArray:
    needed = np.where(fit.at(fewest) >= goals, fewest, np.maximum(fit.reaching(goals), fewest))
    return np.where(needed > horizon, np.inf, needed)


def _fell(observed: FloatArray, replicates: FloatArray, level: float) -> bool:
    """Is the last score below the best earlier one, beyond doubt?"""
    best = int(observed[:-1].argmax())
    change = percentile_estimate(float(observed[-1] - observed[best]), replicates[:, -1] - replicates[:, best], level)
    return change.high < 0


@dataclass(frozen=True, eq=False)
class CurveStep:
    """What a system scored on DEV after training on `examples` examples, `fraction` of all."""

    fraction: float
    examples: int
    scores: SystemScores


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The tuned system's mean on DEV after training on `examples` examples, `fraction` of all; low, high bound it."""

    fraction: float
    examples: int
    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """How the score grows with training examples, and how many would beat the best baseline.

    Scores are in the metric's units on DEV. form: "power law" (score = ceiling - amplitude * examples ** -exponent;
    amplitude is negative where lower is better), "line" (through the logarithm of examples: weak), or "none" (one
    point, or one group of samples: `drawn` is empty and what needs a curve is None).
    gain: tuned minus baseline with all the data, paired; beats: does it reach `at_least` in the metric's good
    direction ("met", "failed", "open"). fell: all the data scored worse than a fraction of them, beyond doubt.
    examples_to_beat: training examples until the curve reaches the baseline's mean; examples_to_margin: until it
    is `at_least` better. The smallest fraction stands for "that many or fewer"; infinite (null in JSON) is "not
    within `horizon` examples", 100 times the data. doubling: what twice the data would add to the score.
    """

    metric: str
    better: Direction
    unit: str
    level: float
    samples: int
    baseline: str
    baseline_mean: float
    at_least: float
    points: tuple[CurvePoint, ...]
    form: Literal["power law", "line", "none"]
    gain: Estimate
    beats: Literal["met", "failed", "open"]
    horizon: int
    sentence: str
    fell: bool = False
    ceiling: float | None = None
    amplitude: float | None = None
    exponent: float | None = None
    drawn: tuple[CurveDrawn, ...] = ()
    examples_to_beat: Estimate | None = None
    examples_to_margin: Estimate | None = None
    doubling: Estimate | None = None


def learning_curve(
    metric: Named,
    *,
    baseline: SystemScores,
    steps: Sequence[CurveStep],
    at_least: float = 0.0,
    resamples: int = 1000,
) -> LearningCurve:
    """Fit how the tuned system's DEV score grows with its training examples, and set it against the best baseline.

    Args:
        baseline: The best one, on the same DEV samples.
        steps: In any order; the largest is all the data.
        at_least: The wanted gain in score units, 0 or more, in the metric's good direction. The doubt is that of
            samples, drawn jointly for every fraction and the baseline, and of seeds if there are several: a
            fraction trained once may have been as lucky as one training of those trained several times. With one
            seed everywhere a lucky run bends the curve unseen, and the sentence says so.

    Raises:
        Incomparable: If steps is empty or repeats a number of examples, if a step was scored on other samples than
            the baseline, and for a metric of pairs, which has no score of one system. Source of the question asked:
            Pecher, Srba, Bielikova, Comparing Specialised Small and General Large Language Models on Text
            Classification (arXiv 2402.12819, 2024): how many labelled samples until break-even.
    """
    ordered = _checked(metric, baseline, steps)
    largest = ordered[-1]
    gain = compare(metric, split=Split.DEV.value, baseline=baseline, tuned=largest.scores)
    sign = 1 if metric.better == "higher" else -1
    foretold = Forecast()
    tuned = [step.scores for step in ordered]
    if sample_clusters(baseline).max() > 0:  # One group alone cannot be drawn again.
        foretold = forecast(
            [step.examples for step in ordered],
            resampled(metric, [*tuned, baseline], tuned=len(tuned), resamples=resamples, seed=0),
            _Aim(sign=sign, most=_most(metric, gain.unit, ordered), at_least=at_least, level=DEFAULT_LEVEL),
        )
    curve = LearningCurve(
        metric=metric.name,
        better=metric.better,
        unit=gain.unit,
        level=DEFAULT_LEVEL,
        samples=gain.samples,
        baseline=baseline.system,
        baseline_mean=gain.baseline_mean,
        at_least=at_least,
        points=tuple(_point(metric, step) for step in ordered),
        form=foretold.form,
        gain=Estimate(gain.difference, gain.low, gain.high),
        beats=_status(gain, sign, at_least),
        horizon=HORIZON * largest.examples,
        sentence="",
        fell=foretold.fell,
        ceiling=foretold.ceiling,
        amplitude=foretold.amplitude,
        exponent=foretold.exponent,
        drawn=foretold.drawn,
        examples_to_beat=foretold.examples_to_beat,
        examples_to_margin=foretold.examples_to_margin,
        doubling=foretold.doubling,
    )
    return replace(curve, sentence=_sentence(curve))


def _checked(metric: Named, baseline: SystemScores, steps: Sequence[CurveStep]) -> list[CurveStep]:
    if isinstance(metric, PairMetric | JudgedMetric):
        raise Incomparable(
            f"{metric.name} compares two answers, so that no system has a score of its own to draw a curve through; "
            "give a metric that scores one answer"
        )
    ordered = sorted(steps, key=lambda step: step.examples)
    sizes = [step.examples for step in ordered]
    if not sizes or sizes[0] < 1 or len(set(sizes)) < len(sizes):
        raise Incomparable(f"{metric.name}: a curve needs different numbers of examples from 1 up, not {sizes}")
    for step in ordered:
        if step.scores.sample_ids != baseline.sample_ids:
            raise Incomparable(
                f"{metric.name}: {baseline.system} and {step.scores.system} of {count(step.examples, 'example')} were "
                "scored on different samples; score every step on the whole of dev, in its order"
            )
    return ordered


def _most(metric: Named, unit: str, steps: Sequence[CurveStep]) -> float:
    """Return the best goodness there is: 1 for a fraction, 0 for what is lost or spent, else no bound."""
    if metric.better == "higher":
        return 1.0 if unit == FRACTION else math.inf
    return 0.0 if all(bool((step.scores.scores >= 0).all()) for step in steps) else math.inf


def _point(metric: Named, step: CurveStep) -> CurvePoint:
    stands = standing(metric, split=Split.DEV.value, system=step.scores)
    return CurvePoint(
        fraction=step.fraction,
        examples=step.examples,
        mean=stands.tuned_mean,
        low=stands.tuned_low,
        high=stands.tuned_high,
        seeds=stands.seeds,
    )


def _status(gain: Comparison, sign: int, at_least: float) -> Literal["met", "failed", "open"]:
    low, high = sorted((sign * gain.low, sign * gain.high))
    if low > at_least or (low == at_least and at_least > 0):
        return "met"
    return "failed" if high < at_least else "open"


def _sentence(curve: LearningCurve) -> str:
    first, last = curve.points[0], curve.points[-1]
    ends = [mean_text(point.mean, point.low, point.high, unit=curve.unit) for point in (first, last)]
    path = f"{ends[0]} at {count(first.examples, 'example')}"
    path += f", {ends[1]} at {last.examples:,}" if len(curve.points) > 1 else ""
    parts = [f"{curve.metric} on DEV is {path}."]
    parts.append(
        f"The best baseline, {curve.baseline}, has {rounded(curve.baseline_mean, unit=curve.unit)}: with all the data "
        f"the tuned system is {curve.gain.as_difference(curve.unit)} from it, which {_shown(curve)}."
    )
    parts += [_fitted(curve), *_caveats(curve)]
    return " ".join(parts)


def _shown(curve: LearningCurve) -> str:
    wanted = "beats it" if curve.at_least == 0 else f"reaches {_margin(curve)}"
    verb = {"met": "shows that it", "failed": "rules out that it", "open": "does not settle whether it"}[curve.beats]
    return f"{verb} {wanted}"


def _margin(curve: LearningCurve) -> str:
    return change(curve.at_least if curve.better == "higher" else -curve.at_least, unit=curve.unit)


def _fitted(curve: LearningCurve) -> str:
    if curve.examples_to_beat is None or curve.examples_to_margin is None or curve.doubling is None:
        reason = "One point makes no curve" if len(curve.points) < 2 else "All DEV samples are of one group"
        return f"{reason}: what more data would bring is unknown."
    law = (
        f"a power law through {len(curve.points)} points" if curve.form == "power law" else "a line through two points"
    )
    needed = f"it takes {_needed(curve, curve.examples_to_beat)} to reach the baseline"
    if curve.at_least > 0:
        needed += f" and {_needed(curve, curve.examples_to_margin)} for {_margin(curve)}"
    doubled = curve.doubling.as_difference(curve.unit)
    return f"By {law} {needed}; twice the data would bring {doubled} ({confidence(curve.level)} intervals)."


def _needed(curve: LearningCurve, examples: Estimate) -> str:
    fewest, beyond = curve.points[0].examples, f"more than {curve.horizon:,}"
    low, high = (beyond if math.isinf(end) else about(end) for end in (examples.low, examples.high))
    low = f"{fewest:,} or fewer" if examples.low <= fewest else low
    if examples.value <= fewest:
        return f"{fewest:,} examples or fewer" + ("" if examples.high <= fewest else f" (at worst {high})")
    if math.isinf(examples.value):
        return f"{beyond} examples" + ("" if math.isinf(examples.low) else f" (at best {low})")
    return f"about {about(examples.value)} examples{span(low, high)}"


def _caveats(curve: LearningCurve) -> list[str]:
    said = []
    if curve.fell:
        said.append(
            "All the data scored worse than a fraction of them: look for noise in the later examples, or train less."
        )
    if curve.form == "line":
        said.append("Two points are weak evidence: three fractions or more show whether the curve flattens.")
    if len(curve.points) > 1 and max(point.seeds for point in curve.points) == 1:
        said.append("With one seed a fraction, luck in training is not in these intervals.")
    return said


__all__ = ["CurveDrawn", "CurvePoint", "CurveStep", "LearningCurve", "learning_curve"]
