"""Pairwise preference on the holdout: wins, ties and losses, what the judge's habits and the answers' lengths do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.compare import DEFAULT_LEVEL, SystemScores
from harness.insights.estimate import Estimate
from harness.protocols import FloatArray
from harness.stats.evidence import Scores, difference_of
from harness.stats.intervals import cluster_count
from harness.stats.sign_flip import sign_flip_p
from harness.stats.win_rate import length_controlled, win_rate
from harness.stats.wording import FRACTION, confidence, count, mean_text, p_text, rounded
from harness.system_scores import group_codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """How often the tuned answer is preferred, ties half; a mean over seeds where there are several.

    at_equal_length: the rate to be expected of answers of equal length. position_bias: how much more often than half
    the answer shown first wins; flip_rate: share of pairs on which the two orders disagree; None without a judge.
    rate: with the interval of the difference that the verdict goes by. groups: that the pairs count as, if fewer.
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
) -> Preferences:
    """Return the win rate of `tuned` against the system called `baseline`.

    tuned: its points in [0, 1], with what the judge said in each order as details where one was asked.
    extra_length: shape (n,), characters of the tuned answer minus the baseline's.
    Sources: the sign test without ties; Dubois and others, Length-Controlled AlpacaEval (2024).
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
    content = Preferences(
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


def _said(found: Preferences) -> Preferences:
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
