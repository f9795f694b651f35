"""Pairwise preference: the win rate with ties, what the order of the answers does to it, and what their length does.

points: shape (n,), 1 where the tuned answer is preferred, 0.5 for a tie, 0 if the baseline's is.

Do raters agree, and how strong is each system by its pairwise wins?
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.stats.intervals import (
    Clusters,
    Interval,
    cluster_count,
    clustered_interval,
    jackknife_error,
    paired_interval,
    standard_error,
)
from harness.stats.paired_tests import mcnemar_p, wilson_interval
from harness.types.protocols import FloatArray


@dataclass(frozen=True, slots=True)
class WinRate:
    """rate: mean of the points, ties half. interval: of that, and it decides. p_value: exact sign test without ties.

    The two may disagree near 0.05, since the interval counts ties and the test drops them; the rule is fixed here so
    that nobody picks the one that suits.
    """

    rate: float
    error: float
    interval: Interval
    p_value: float
    wins: int
    ties: int
    losses: int


def win_rate(points: FloatArray, clusters: Clusters | None = None, *, level: float = 0.95) -> WinRate:
    """Return the win rate; clusters are prompts, where one prompt has several judged pairs.

    Raises:
        ValueError: For a point outside [0, 1].
    """
    if not ((points >= 0) & (points <= 1)).all():
        raise ValueError("points lie in [0, 1]: 1 for a win, 0.5 for a tie, 0 for a loss")
    wins, losses = int((points > 0.5).sum()), int((points < 0.5).sum())
    if clusters is None:
        error, interval = standard_error(points), paired_interval(points, level=level)
    else:
        error = jackknife_error(points, clusters)
        interval = clustered_interval(points, clusters, level=level)
    return WinRate(
        rate=float(points.mean()),
        error=error,
        interval=interval.within(0.0, 1.0),
        p_value=mcnemar_p(losses, wins),
        wins=wins,
        ties=points.size - wins - losses,
        losses=losses,
    )


@dataclass(frozen=True, slots=True)
class BothOrders:
    """A judge that saw each pair in both orders.

    Args:
        points: Shape (n,), a win or a loss only where both orders say so, else 0.5.
        position_bias: How much more often than half the answer shown first is preferred.
        flip_rate: Share of pairs on which the two orders disagree.
    """

    points: FloatArray
    position_bias: float
    flip_rate: float


def both_orders(tuned_first: FloatArray, baseline_first: FloatArray) -> BothOrders:
    """Return what both orders agree on. Each: shape (n,), points of the tuned answer, shown first or second.

    Raises:
        ValueError: If a pair was not judged in both orders.
    """
    if tuned_first.shape != baseline_first.shape:
        raise ValueError(f"{tuned_first.size} pairs in one order and {baseline_first.size} in the other; judge both")
    agree = tuned_first == baseline_first
    first_wins = (float(tuned_first.mean()) + float((1 - baseline_first).mean())) / 2
    return BothOrders(
        points=np.where(agree, tuned_first, 0.5),
        position_bias=first_wins - 0.5,
        flip_rate=float((~agree).mean()),
    )


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """rate: the win rate to be expected of answers of equal length. length_effect: logit a unit of the length term."""

    rate: float
    interval: Interval
    length_effect: float


def length_controlled(
    points: FloatArray, extra_length: FloatArray, clusters: Clusters | None = None, *, level: float = 0.95
) -> LengthControlled:
    """Return the win rate at equal length: a logistic regression of the points on tanh of the standardised difference.

    Args:
        extra_length: Shape (n,), tuned minus baseline, in tokens or characters; divided by its standard deviation
            and not centred, so that 0 stays equal length. Errors are robust, by clusters where given. Where all
            points are the same, or all lengths differ by the same, length explains nothing: the rate is the plain
            one, with Wilson's interval. Source: Dubois and others, Length-Controlled AlpacaEval (2024).
    """
    from scipy.special import expit, ndtri
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    spread = float(extra_length.std(ddof=1)) if extra_length.size > 1 else 0.0
    if spread == 0 or np.ptp(points) == 0:
        rate, units = float(points.mean()), points.size if clusters is None else cluster_count(clusters)
        return LengthControlled(rate, wilson_interval(rate, units, level=level), 0.0)
    design = np.column_stack([np.ones(points.size), np.tanh(extra_length / spread)])
    robust = {"cov_type": "HC1"} if clusters is None else {"cov_type": "cluster", "cov_kwds": {"groups": clusters}}
    with warnings.catch_warnings():
        # Where length alone tells wins from losses, the interval says so: it is as wide as can be.
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        fitted = GLM(points, design, family=Binomial()).fit(**robust)
    centre, half = float(fitted.params[0]), float(ndtri(0.5 + level / 2)) * float(fitted.bse[0])
    if not (np.isfinite(centre) and np.isfinite(half)):
        return LengthControlled(float(points.mean()), Interval(0.0, 1.0), 0.0)
    interval = Interval(float(expit(centre - half)), float(expit(centre + half)))
    return LengthControlled(float(expit(centre)), interval, float(fitted.params[1]))


Scale = Literal["nominal", "interval"]


def krippendorff_alpha(ratings: FloatArray, *, scale: Scale = "nominal") -> float:
    """Return Krippendorff's alpha: 1 where raters always agree, 0 if they agree as by chance.

    Args:
        ratings: Shape (raters, units), NaN where a rater gave none; units with one rating count for nothing. Where
            all ratings are the same alpha is 1: nothing was ever disagreed upon.

    Raises:
        ValueError: If no unit has two ratings.

    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011).
    """
    values, counts = _rated(ratings)
    return _alpha(values, counts, scale)


def krippendorff_interval(
    ratings: FloatArray, *, scale: Scale = "nominal", seed: int = 0, resamples: int = 1_000, level: float = 0.95
) -> Interval:
    """Return the percentile interval of alpha over resampled units.

    Units are drawn, not pairs of ratings: pairs within a unit share its ratings and would make it too narrow.

    Raises:
        ValueError: If no unit has two ratings.
    """
    values, counts = _rated(ratings)
    drawn = np.random.default_rng(seed).integers(0, len(counts), size=(resamples, len(counts)))
    alphas = [_alpha(values, counts[rows], scale) for rows in drawn]
    low, high = np.quantile(alphas, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def bradley_terry(
    first: Sequence[str], second: Sequence[str], points: Sequence[float], *, tolerance: float = 1e-12
) -> dict[str, float]:
    """Return each system's strength, in a sum of 1, strongest first; strength a / (a + b) is the chance to win.

    Args:
        points: What the first one of each pair got: 1 for a win, 0.5 for a tie, 0 for a loss.

    Raises:
        ValueError: If a system never got a point or always did: its strength has no estimate then.

    Source: Hunter, MM Algorithms for Generalized Bradley-Terry Models, Annals of Statistics 32 (2004).
    """
    names = sorted({*first, *second})
    places = {name: place for place, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for left, right, point in zip(first, second, points, strict=True):
        wins[places[left], places[right]] += point
        wins[places[right], places[left]] += 1 - point
    met, won = wins + wins.T, wins.sum(axis=1)
    for name, point, most in zip(names, won, met.sum(axis=1), strict=True):
        if point in (0.0, most):
            raise ValueError(f"{name} got {point:g} of {most:g} points; its strength has no estimate")
    strength = np.full(len(names), 1 / len(names))
    for _ in range(10_000):
        before = strength
        strength = won / (met / (strength[:, None] + strength)).sum(axis=1)
        strength = strength / strength.sum()
        if np.abs(strength - before).max() < tolerance:
            break
    return {names[place]: float(strength[place]) for place in np.argsort(-strength, kind="stable")}


def _rated(ratings: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the distinct ratings, shape (v,), and how often each unit with two or more got them, shape (units, v)."""
    values = np.unique(ratings[~np.isnan(ratings)])
    counts = (
        np.stack([(ratings == value).sum(axis=0) for value in values], axis=1).astype(np.float64)
        if values.size
        else np.zeros((0, 0))
    )
    counts = counts[counts.sum(axis=1) >= 2]
    if not counts.size:
        raise ValueError("no unit has two ratings; agreement needs at least one that two raters rated")
    return values, counts


def _alpha(values: FloatArray, counts: FloatArray, scale: Scale) -> float:
    """Return 1 - observed / expected disagreement. counts: shape (units, v)."""
    distance = values[:, None] - values  # (v, v)
    apart = distance**2 if scale == "interval" else (distance != 0).astype(np.float64)
    rated = counts.sum(axis=1)  # (units,)
    # In a unit of m ratings each of its m (m - 1) ordered pairs weighs 1 / (m - 1).
    observed = float((np.einsum("uv,vw,uw->u", counts, apart, counts) / (rated - 1)).sum())
    totals = counts.sum(axis=0)  # (v,)
    expected = float(totals @ apart @ totals) / (rated.sum() - 1)
    return 1 - observed / expected if expected > 0 else 1.0
