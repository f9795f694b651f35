"""How much a score moves when nothing changes but the circumstances: batch size, order of the questions, dtype."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.stats.wording import FRACTION, amount, change, count
from harness.types.protocols import FloatArray

_Z = 1.96  # of a two-sided 95 % interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """One system's answers to the same samples, asked again in another circumstance.

    Args:
        circumstance: In words that follow "asked", such as "one at a time".
        changed: Samples whose score moved.
        mean: Of (second minus first score)
        spread: Root mean square of it; both in score units.
        floor: The difference of two means over the holdout that this circumstance alone may bring, in score units.
    """

    circumstance: str
    samples: int
    changed: int
    mean: float
    spread: float
    floor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """A gain of `floor` or less (score units) may be noise of the measurement.

    Args:
        system: The one asked again.
        holdout: The number of samples that the floor is for.
        reruns: Empty if nothing was asked again; the sentence then says why, and the floor is 0.
    """

    metric: str
    system: str
    unit: str
    floor: float
    holdout: int
    reruns: tuple[Rerun, ...]
    sentence: str


def noise_of(
    metric: str, differences: Mapping[str, Sequence[float]], *, system: str, holdout: int, unit: str
) -> NoiseFloor:
    """Return the floor of `metric` for a holdout of `holdout` samples.

    Args:
        differences: For each circumstance, second minus first score of each sample asked again, in score units. The
            floor is the largest, over circumstances, of 1.96 standard errors that differences of this size would
            have on the holdout, sqrt(mean(d^2) / holdout), and of |mean| where the interval of the samples asked
            again excludes 0.

    Raises:
        ValueError: If a circumstance has no difference, one is not finite, or `holdout` is below 1.
    """
    if holdout < 1:
        raise ValueError(f"a holdout of {holdout} samples has no noise floor; give 1 or more")
    reruns = tuple(_rerun(name, np.asarray(d, dtype=np.float64), holdout) for name, d in differences.items())
    floor = max((rerun.floor for rerun in reruns), default=0.0)
    found = NoiseFloor(
        metric=metric, system=system, unit=unit, floor=floor, holdout=holdout, reruns=reruns, sentence=""
    )
    return replace(found, sentence=_sentence(found))


def not_measured(metric: str, *, system: str, holdout: int, unit: str, why: str) -> NoiseFloor:
    """Return a floor of 0 with the reason for which nothing was asked again."""
    sentence = f"The noise of {metric} was not measured: {why}."
    return NoiseFloor(metric=metric, system=system, unit=unit, floor=0.0, holdout=holdout, reruns=(), sentence=sentence)


def _rerun(circumstance: str, differences: FloatArray, holdout: int) -> Rerun:
    if differences.size == 0 or not bool(np.isfinite(differences).all()):
        raise ValueError(f"{circumstance}: {differences.size} differences; give one or more, all finite")
    mean, spread = float(differences.mean()), float(np.sqrt(np.square(differences).mean()))
    # One flip among few samples is no shift of the mean: only what their own interval shows does not average out.
    systematic = differences.size > 1 and abs(mean) > _Z * float(differences.std(ddof=1)) / math.sqrt(differences.size)
    shift = abs(mean) if systematic else 0.0
    return Rerun(
        circumstance=circumstance,
        samples=differences.size,
        changed=int(np.count_nonzero(differences)),
        mean=mean,
        spread=spread,
        floor=max(shift, _Z * spread / math.sqrt(holdout)),
    )


def _sentence(found: NoiseFloor) -> str:
    if not found.reruns:
        return f"The noise of {found.metric} was not measured: nothing was asked again."
    asked = "; ".join(f"{rerun.circumstance}: {rerun.changed} of {rerun.samples}" for rerun in found.reruns)
    begin = f"Asked again, {found.system} scored otherwise in {found.metric} on so many DEV samples: {asked}. "
    if found.floor == 0:
        most = amount(round(1 - 0.05 ** (1 / min(rerun.samples for rerun in found.reruns)), 3), unit=FRACTION)
        return f"{begin}No noise was seen; with 95 % confidence at most {most} of samples move."
    shown = change(_two_digits(found.floor), unit=found.unit, sign=False)
    return f"{begin}On {count(found.holdout, 'holdout sample')} a difference of {shown} or less may be this noise."


def _two_digits(value: float) -> float:
    """Return `value` with two significant digits, rounded up: more digits would be noise themselves."""
    decimals = 1 - math.floor(math.log10(value))
    return round(math.ceil(value * 10.0**decimals - 1e-9) / 10.0**decimals, max(decimals, 0))
