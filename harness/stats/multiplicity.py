"""Several tests at once: adjusted p-values, alpha over the looks at one holdout, many systems against one baseline."""

from collections.abc import Sequence

import numpy as np

from harness.types.protocols import FloatArray


def benjamini_hochberg(p_values: Sequence[float]) -> FloatArray:
    """Return q-values: of what lies below q, a share of at most q is expected to be false. For exploring, not deciding.

    Raises:
        ValueError: For a p-value outside [0, 1].

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995).
    """
    found = np.asarray(p_values, dtype=np.float64)
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"p-values lie in [0, 1], not {next(p for p in found if not 0 <= p <= 1)}")
    order = np.argsort(found)[::-1]  # the largest first
    # scipy.stats.false_discovery_control, written out: every experiment has slices, and the import takes 2.4 s.
    adjusted = np.minimum.accumulate(found[order] * found.size / np.arange(found.size, 0, -1))
    q_values = np.empty_like(found)
    q_values[order] = np.minimum(adjusted, 1.0)
    return q_values


def spent_alpha(look: int, alpha: float = 0.05) -> float:
    """Return the two-sided alpha of the `look`-th candidate, from 1, that meets one holdout.

    The first has alpha, the k-th alpha / (k (k - 1)). A gain errs on one side only, with half of each: alpha / 2 for
    the first and alpha / 2 for all later ones together, since 1/2 + 1/6 + 1/12 + ... = 1. So any number of looks
    stays within alpha, and a holdout that is looked at once loses nothing.

    Raises:
        ValueError: For a look below 1.

    Source: Foster and Stine, alpha-investing, JRSS B 70 (2008); here the spending is fixed.
    """
    if look < 1:
        raise ValueError(f"look {look}: the first candidate is look 1")
    return alpha if look == 1 else alpha / (look * (look - 1))
