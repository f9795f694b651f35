"""How many samples it would take."""

import math


def needed_samples(distance: float, spread: float, *, level: float = 0.95, power: float = 0.8) -> int | None:
    """Return the sample count at which a two-sided interval excludes a value `distance` away with the given power.

    distance: from the observed difference to the threshold. spread: standard deviation that one sample adds, both
    in score units. None where no count would do: no distance, or no finite spread.
    Source: n = ((z_(1 - alpha/2) + z_power) * spread / distance)^2, Miller (2024), section 5.
    """
    from scipy.special import ndtri

    if distance == 0 or not math.isfinite(distance) or not math.isfinite(spread):
        return None
    needed = (float(ndtri(0.5 + level / 2) + ndtri(power)) * spread / distance) ** 2
    return max(1, math.ceil(needed)) if math.isfinite(needed) else None


def needed_seeds(distance: float, spread: float, *, level: float = 0.95, most: int = 100) -> int | None:
    """Return the number of training seeds at which the t interval of their mean is narrower than `distance`.

    spread: standard deviation between seeds. None where even `most` seeds would not do.
    """
    from scipy.special import stdtrit

    for seeds in range(2, most + 1):
        if float(stdtrit(seeds - 1, 0.5 + level / 2)) * spread / math.sqrt(seeds) <= abs(distance):
            return seeds
    return None
