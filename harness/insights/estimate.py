"""A number with its interval, as every insight holds it."""

from dataclasses import dataclass

import numpy as np

from harness.protocols import FloatArray
from harness.stats.wording import difference_text, mean_text


@dataclass(frozen=True, slots=True)
class Estimate:
    """low and high bound `value` at the confidence level that the insight names; an end may be infinite, never NaN."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def as_mean(self, unit: str) -> str:
        """Return "83.4 % [81.2, 85.5]"."""
        return mean_text(self.value, self.low, self.high, unit=unit)

    def as_difference(self, unit: str) -> str:
        """Return "+0.8 pts [-1.1, +2.6]"."""
        return difference_text(self.value, self.low, self.high, unit=unit)


def outlook(value: float, replicates: FloatArray, level: float) -> Estimate:
    """Return `value` with the percentile interval of its resamples, which may hold infinite ones.

    The interval is widened to hold the value where few resamples lie beyond it.
    """
    low, high = np.quantile(replicates, ((1 - level) / 2, (1 + level) / 2), method="inverted_cdf")
    return Estimate(value, min(float(low), value), max(float(high), value))
