"""Pairwise preference on the holdout: wins, ties and losses, what the judge's habits and the answers' lengths do.

Several trainings of one recipe: how much of the difference is the seed's, and whether the next one would win.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.estimate import Estimate
from harness.errors import Incomparable
from harness.stats.compare import DEFAULT_LEVEL, SystemScores, group_codes
from harness.stats.evidence import Scores, difference_of
from harness.stats.intervals import Interval, cluster_count
from harness.stats.paired_tests import sign_flip_p
from harness.stats.seeds import components, next_training, seed_intervals
from harness.stats.win_rate import length_controlled, win_rate
from harness.stats.wording import FRACTION, confidence, count, difference_text, mean_text, p_text, rounded
from harness.types.protocols import FloatArray, Named


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRates:
    """How often the tuned answer is preferred, ties half; a mean over seeds if there are several.

    Args:
        at_equal_length: The rate to be expected of answers of equal length.
        position_bias: How much more often than half the answer shown first wins.
        flip_rate: Share of pairs on which the two orders disagree; None without a judge.
        rate: With the interval of the difference that the verdict goes by.
        groups: That the pairs count as, if fewer.
    """

    metric: str
    tuned: str
    baseline: str
    level: float
    samples: int
    wins: int
    ties: int
    losses: int
    rate: Estimate
    p_value: float
    at_equal_length: Estimate
    position_bias: float | None
    flip_rate: float | None
    sentence: str
    groups: int | None = None


def preferences(
    metric: str, tuned: SystemScores, *, baseline: str, extra_length: FloatArray, level: float = DEFAULT_LEVEL
) -> WinRates:
    """Return the win rate of `tuned` against the system called `baseline`.

    Args:
        tuned: Its points in [0, 1], with what the judge said in each order as details where one was asked.
        extra_length: Shape (n,), characters of the tuned answer minus the baseline's. Sources: the sign test
            without ties; Dubois and others, Length-Controlled AlpacaEval (2024).
    """
    points = tuned.scores.mean(axis=0)  # (n,)
    clusters = group_codes(tuned)
    found = win_rate(points, clusters, level=level)
    rest = Scores(values=1.0 - points[None], clusters=clusters, bounded=True)
    decides = difference_of(Scores(values=tuned.scores, clusters=clusters, bounded=True), rest, seed=0, level=level)
    low, high = ((1 + end) / 2 for end in (decides.interval.low, decides.interval.high))
    equal = length_controlled(points, extra_length, clusters, level=level)
    habits = [habit for row in tuned.details for detail in row if (habit := _habit(detail)) is not None]
    firsts = [first for habit in habits for first in habit[0]]
    content = WinRates(
        metric=metric,
        tuned=tuned.system,
        baseline=baseline,
        level=level,
        samples=points.size,
        wins=found.wins,
        ties=found.ties,
        losses=found.losses,
        rate=Estimate(found.rate, low, high),
        p_value=found.p_value if clusters is None else sign_flip_p(2 * points - 1, clusters),
        groups=None if clusters is None else cluster_count(clusters),
        at_equal_length=Estimate(equal.rate, equal.interval.low, equal.interval.high),
        position_bias=float(np.mean(firsts)) - 0.5 if firsts else None,
        flip_rate=float(np.mean([habit[1] for habit in habits])) if habits else None,
        sentence="",
    )
    return _said(content)


def _habit(detail: object) -> tuple[Sequence[bool], bool] | None:
    """Return which decided replies named the answer shown first, and whether the orders disagree."""
    if not isinstance(detail, Mapping) or not {"tuned_first", "baseline_first", "outcome"} <= set(detail):
        return None
    pairs = ((detail["tuned_first"], "tuned"), (detail["baseline_first"], "baseline"))
    return [said == first for said, first in pairs if said in ("tuned", "baseline")], detail["outcome"] == "disagreed"


def _said(found: WinRates) -> WinRates:
    rate = mean_text(found.rate.value, found.rate.low, found.rate.high, unit=FRACTION)
    equal = mean_text(*(getattr(found.at_equal_length, end) for end in ("value", "low", "high")), unit=FRACTION)
    counts = f"{found.wins:,} won, {found.ties:,} tied, {found.losses:,} lost of {found.samples:,}"
    counts += "" if found.groups is None else f" in {count(found.groups, 'group')}"
    test = "sign test without ties" if found.groups is None else "sign-flip test of groups"
    said = (
        f"{found.tuned} is preferred to {found.baseline} in {rate} of the pairs ({counts}; {confidence(found.level)}; "
        f"{test} {p_text(found.p_value)}). At equal length it would be {equal}."
    )
    if found.position_bias is not None and found.flip_rate is not None:
        bias, flips = rounded(found.position_bias, unit=FRACTION), rounded(found.flip_rate, unit=FRACTION)
        said += f" The judge names the answer shown first {bias} more often than half, and changes its mind with the"
        said += f" order on {flips} of the pairs."
    return replace(found, sentence=said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainings:
    """The mean difference over seeds and samples, with three intervals.

    Args:
        over_samples: For just these trainings.
        over_seeds: T of the trainings' means, for just these samples.
        over_both: Seeds and samples drawn anew.
        seed_share: Of the variance of one training's mean difference, the part that the seed makes.
        next_wins: Chance that one more training beats the baseline on these samples, by the t prediction.
    """

    metric: str
    unit: str
    level: float
    seeds: int
    samples: int
    won: int
    over_samples: Estimate
    over_seeds: Estimate
    over_both: Estimate
    seed_share: float | None
    next_wins: float | None
    sentence: str


def trainings(
    metric: Named, *, baseline: SystemScores, tuned: SystemScores, unit: str, level: float = DEFAULT_LEVEL
) -> Trainings:
    """Return what several seeds say of a metric that is a mean of scores.

    Raises:
        Incomparable: With one seed or one sample, or if the systems were scored on different samples.

    Sources: Searle, Casella, McCulloch, Variance Components (1992); Owen, The Pigeonhole Bootstrap (2007).
    """
    if tuned.sample_ids != baseline.sample_ids or min(tuned.scores.shape) < 2:
        raise Incomparable(f"{metric.name}: two seeds and two shared samples are the least; got {tuned.scores.shape}")
    differences = tuned.scores - baseline.scores.mean(axis=0)  # (seeds, n)
    better = differences if metric.better == "higher" else -differences
    three, parts = seed_intervals(differences, level=level), components(differences)
    following = next_training(better.mean(axis=1))
    seeds, samples = differences.shape
    whole = parts.error(1, samples) ** 2
    mean = float(differences.mean())
    over_both = _estimate(mean, three.both)
    share = parts.seed / whole if whole > 0 else None
    chance = following.probability
    shown = difference_text(mean, over_both.low, over_both.high, unit=unit)
    said = f"{following.won} of {count(seeds, 'training')} beat the baseline in {metric.name}: {shown}"
    said += f" with seeds and samples drawn anew ({confidence(level)})."
    if share is not None and chance is not None and math.isfinite(chance):
        said += f" The seed makes {rounded(share, unit='%')} of the variance of one training's result;"
        said += f" the next training wins with a chance of {rounded(chance, unit='%')}."
    return Trainings(
        metric=metric.name,
        unit=unit,
        level=level,
        seeds=seeds,
        samples=samples,
        won=int(np.count_nonzero(better.mean(axis=1) > 0)),
        over_samples=_estimate(mean, three.samples),
        over_seeds=_estimate(mean, three.seeds),
        over_both=over_both,
        seed_share=share,
        next_wins=chance,
        sentence=said,
    )


def _estimate(value: float, interval: Interval) -> Estimate:
    return Estimate(value, interval.low, interval.high)
