"""How many samples it would take, what a given number could show, and how likely a test is to see it.

spread: standard deviation that one sample adds to the difference, in score units; one standard error is
spread / sqrt(samples). sides: 2 for the criteria's intervals; 1 where only one direction could be found at all.
"""

import math
from statistics import NormalDist
from typing import Literal

Sides = Literal[1, 2]


def needed_samples(
    distance: float, spread: float, *, level: float = 0.95, power: float = 0.8, sides: Sides = 2
) -> int | None:
    """Return the sample count at which an interval excludes a value `distance` away with the given power.

    Args:
        distance: From the observed difference to the threshold. None if no count would do: no distance, or no
            finite spread. Source: n = ((z_(1 - alpha/2) + z_power) * spread / distance)^2, Miller (2024), section
            5.
    """
    if distance == 0 or not math.isfinite(distance) or not math.isfinite(spread):
        return None
    needed = (_quantiles(level, power, sides) * spread / distance) ** 2
    return max(1, math.ceil(needed)) if math.isfinite(needed) else None


def detectable_difference(
    samples: int, spread: float, *, level: float = 0.95, power: float = 0.8, sides: Sides = 2
) -> float:
    """Return the smallest difference that so many samples show with the given power: the inverse of needed_samples.

    It is in score units on the scale of all samples. For right-or-wrong scores take sqrt(2 p (1 - p) (1 - r)) as the
    spread, p the share that is right and r the correlation of the two systems' scores; a figure of
    2.8 / sqrt(discordant pairs) is on another scale and may not be held against a difference of means.
    """
    return _quantiles(level, power, sides) * spread / math.sqrt(samples) if samples > 0 else math.inf


def needed_seeds(distance: float, spread: float, *, level: float = 0.95, most: int = 100) -> int | None:
    """Return the number of training seeds at which the t interval of their mean is narrower than `distance`.

    Args:
        spread: Standard deviation between seeds. None if even `most` seeds would not do.
    """
    from scipy.special import stdtrit

    for seeds in range(2, most + 1):
        if float(stdtrit(seeds - 1, 0.5 + level / 2)) * spread / math.sqrt(seeds) <= abs(distance):
            return seeds
    return None


def _quantiles(level: float, power: float, sides: Sides) -> float:
    """Return z_(1 - alpha / sides) + z_power: 2.8016 for two sides of 0.05 and 80 %, 2.4865 for one."""
    normal = NormalDist()  # not scipy's: the plan that pytest's collection prints needs it, and loads nothing heavy
    return normal.inv_cdf(1 - (1 - level) / sides) + normal.inv_cdf(power)
