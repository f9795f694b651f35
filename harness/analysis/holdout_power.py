"""Is the holdout large enough for the gain that is asked for? Said before anything is trained."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.stats.compare import unit_of
from harness.stats.power import detectable_difference, needed_samples
from harness.stats.wording import FRACTION, change, count
from harness.types.protocols import FloatArray, Named

# Of two systems' scores on one sample: published pairs of related models lie between 0.3 and 0.7.
CORRELATION = 0.5
# Before any score is known: half the answers right, the most that scores between 0 and 1 can vary.
_MOST_VARIANCE = 0.25
# Of two samples of one group, where nothing is known of them.
ALIKE = 0.5
_POWER = 0.8
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class EnoughEvidence:
    """The smallest true difference that the holdout shows in four runs of five, against the gain asked for.

    Args:
        at_least, detectable, spread: In score units; spread is the standard deviation of one sample's difference.
        detectable: True difference at which the interval excludes no difference with 80 % power.
        needed: Holdout samples with which it is `at_least`; None if at_least is 0 or the spread is.
        assumption: What spread stands on.
        enough: Detectable is at most `at_least`, or at_least is 0, which every difference that shows exceeds.
    """

    metric: str
    unit: str
    level: float
    samples: int
    at_least: float
    detectable: float
    needed: int | None
    spread: float
    assumption: str
    enough: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Grouping:
    """How samples hang together. size: of a holdout sample's group, on average over samples, 1 without groups.

    Args:
        alike: Correlation of two scores of one group, 0 to 1.
    """

    size: float = 1.0
    alike: float = ALIKE

    @property
    def inflation(self) -> float:
        """By how much the variance of a mean grows (Kish's design effect)."""
        return 1 + (self.size - 1) * self.alike


NO_GROUPS = Grouping()


def grouping(
    holdout: Sequence[str | None], scores: FloatArray | None = None, dev: Sequence[str | None] = ()
) -> Grouping:
    """Return the grouping of a holdout whose samples name these groups.

    Args:
        scores, dev: A system's scores on DEV, shape (samples,), and their groups: what they say of how alike a
            group's samples are, by one-way analysis of variance. Where no group of DEV has two samples, `ALIKE`
            stands.
    """
    sizes = Counter(name for name in holdout if name is not None)
    squares = sum(size**2 for size in sizes.values()) + sum(name is None for name in holdout)
    return Grouping(squares / max(1, len(holdout)), ALIKE if scores is None else _alike(scores, dev))


def _alike(scores: FloatArray, groups: Sequence[str | None]) -> float:
    members: dict[str, list[float]] = {}
    for score, name in zip(scores, groups, strict=True):
        if name is not None:
            members.setdefault(name, []).append(float(score))
    several = [np.array(found) for found in members.values() if len(found) > 1]
    if len(several) < 2:
        return ALIKE
    total = sum(found.size for found in several)
    typical = (total - sum(found.size**2 for found in several) / total) / (len(several) - 1)
    mean = float(np.concatenate(several).mean())
    between = sum(found.size * (float(found.mean()) - mean) ** 2 for found in several) / (len(several) - 1)
    within = sum(float(((found - found.mean()) ** 2).sum()) for found in several) / (total - len(several))
    whole = between + (typical - 1) * within
    return min(1.0, max(0.0, (between - within) / whole)) if whole > 0 else ALIKE


def enough_evidence(
    n: int,
    at_least: float,
    metric: Named,
    *,
    scores: FloatArray | None = None,
    groups: Grouping = NO_GROUPS,
) -> EnoughEvidence | None:
    """Return what a holdout of `n` samples can show of `metric` against a gain of `at_least` (score units, >= 0).

    Args:
        scores: The best baseline's on DEV, shape (samples,); without them a score is taken for right or wrong, half
            of them right. None if no score is known and the metric's need not lie between 0 and 1, or n or the
            number of scores is below 2.
        groups: How the holdout's samples hang together. Sources: Miller, Adding Error Bars to Evals (2024), section
            5: Var(d) = 2 Var(score) (1 - correlation); Kish, Survey Sampling (1965), for groups.
    """
    if n < 2 or (scores is not None and scores.size < 2):
        return None
    unit = unit_of(metric)
    if scores is None and unit != FRACTION:
        return None
    variance, assumption = _MOST_VARIANCE, "half of the answers right"
    if scores is not None:
        variance, assumption = float(np.var(scores, ddof=1)), f"the spread of {scores.size:,} DEV scores"
        # None right, or all, is no proof that none varies: as if one more sample of n + 2 did (Agresti and Coull).
        seldom = 1 / (scores.size + 2)
        variance = max(variance, seldom * (1 - seldom)) if unit == FRACTION else variance
    if groups.size > 1:
        variance *= groups.inflation
        assumption += f", groups of {groups.size:.1f} samples whose scores correlate by {groups.alike:.2f}"
    spread = math.sqrt(2 * variance * (1 - CORRELATION))
    detectable = detectable_difference(n, spread, level=_LEVEL, power=_POWER)
    found = EnoughEvidence(
        metric=metric.name,
        unit=unit,
        level=_LEVEL,
        samples=n,
        at_least=at_least,
        detectable=detectable,
        needed=needed_samples(at_least, spread, level=_LEVEL, power=_POWER) if at_least > 0 and spread > 0 else None,
        spread=spread,
        assumption=f"{assumption}, correlation {CORRELATION:g} between systems",
        enough=at_least == 0 or detectable <= at_least,
        sentence="",
    )
    return replace(found, sentence=_sentence(found))


def _sentence(found: EnoughEvidence) -> str:
    shown = change(_rounded(found.detectable, found.unit), unit=found.unit, sign=False)
    begin = f"{count(found.samples, 'holdout sample')} show a true difference in {found.metric} of about {shown}"
    sentence = f"{begin} with 80 % power (assumed: {found.assumption})."
    asked = change(found.at_least, unit=found.unit, sign=False)
    if not found.enough:
        return f"{sentence} A gain of {asked} is less than that: about {count(found.needed or 0, 'sample')} would do."
    return f"{sentence} That is enough for the {asked} asked for." if found.at_least > 0 else sentence


def _rounded(value: float, unit: str) -> float:
    """Return `value` to a tenth of a point, or to three digits if it is no fraction."""
    if unit == FRACTION or value == 0:
        return round(value, 3)
    return round(value, 2 - math.floor(math.log10(value)))
