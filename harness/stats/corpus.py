"""Evidence for metrics of the whole set, such as macro F1 or perplexity: recomputed on each paired resample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.errors import Incomparable
from harness.protocols import FloatArray
from harness.stats.binary import bonett_price_interval, wilson_interval
from harness.stats.bootstrap import RESAMPLES, Statistic, bootstrap
from harness.stats.evidence import Estimate, Scores, from_bootstrap, with_seeds
from harness.stats.intervals import Clusters, cluster_count
from harness.stats.t_test import paired_p

_SWAPS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One system's evidence for a corpus metric.

    statistic: `CorpusMetric.statistic`. details: `Score.detail` a seed and sample. scores: the per-sample scores,
    for the p-value, and for the doubt that remains where no resample differs.
    """

    name: str
    statistic: Callable[[Sequence[object], FloatArray], FloatArray]
    details: tuple[tuple[object, ...], ...]
    scores: Scores

    @property
    def draws(self) -> Clusters:
        """What is drawn as one, shape (n,): the cluster, or the sample itself."""
        return np.arange(len(self.details[0])) if self.scores.clusters is None else self.scores.clusters

    @property
    def observed(self) -> FloatArray:
        """The statistic of each seed on the samples as they are, shape (seeds,)."""
        return self._by_seed(np.ones((1, len(self.details[0]))))[:, 0]

    def of(self, weights: FloatArray) -> FloatArray:
        """Return the mean over seeds of the statistic, shape (resamples,)."""
        means: FloatArray = self._by_seed(weights).mean(axis=0)
        return means

    def _by_seed(self, weights: FloatArray) -> FloatArray:
        return np.stack([np.asarray(self.statistic(row, weights), dtype=np.float64) for row in self.details])


def corpus_mean(corpus: Corpus, *, seed: int) -> Estimate:
    """Return the statistic with its BCa interval.

    Raises Incomparable where the statistic of a resample is not finite.
    """
    estimate = _bootstrapped(corpus, corpus.of, seed)
    if corpus.scores.binary and estimate.interval.low == estimate.interval.high:
        wilson = wilson_interval(float(corpus.scores.items.mean()), len(corpus.draws))
        method = f"{estimate.method}; Wilson's, since no resample differs"
        estimate = replace(estimate, interval=estimate.interval.hull(wilson), method=method)
    return with_seeds(estimate, corpus.observed, None)


def corpus_difference(tuned: Corpus, baseline: Corpus, *, seed: int) -> Estimate:
    """Return the difference of the statistics: both are recomputed on the same draws.

    The p-value is that of the swap test for right-or-wrong scores (macro F1), and of a paired t test of the
    per-sample scores otherwise (perplexity: log losses compare sample by sample, where exp would not).

    Raises Incomparable where the statistic of a resample is not finite.
    """
    estimate = _bootstrapped(tuned, lambda weights: tuned.of(weights) - baseline.of(weights), seed)
    differences = tuned.scores.items - baseline.scores.items
    if tuned.scores.binary and baseline.scores.binary:
        if estimate.interval.low == estimate.interval.high:
            widened = estimate.interval.hull(bonett_price_interval(differences))
            method = f"{estimate.method}; Bonett-Price, since no resample differs"
            estimate = replace(estimate, interval=widened, method=method)
        p_value, test = swap_p(tuned, baseline, seed=seed), "swap test of the metric"
    else:
        p_value, test = paired_p(differences, tuned.scores.clusters), "paired t test of the scores"
    estimate = replace(estimate, p_value=p_value, method=f"{estimate.method}; {test}")
    return with_seeds(estimate, tuned.observed, baseline.observed)


def swap_p(tuned: Corpus, baseline: Corpus, *, seed: int, draws: int = RESAMPLES) -> float:
    """Return the two-sided p-value of "it does not matter which system answered", (1 + hits) / (1 + draws).

    Each draw swaps the two systems' answers for a random half of the samples (clusters as a whole) and computes
    the difference again: the sign-flip test for a metric that is no mean.
    Source: Noreen, Computer-Intensive Methods for Testing Hypotheses (1989).
    """
    codes, count = tuned.draws, cluster_count(tuned.draws)
    n, generator = codes.size, np.random.default_rng(seed)
    least = abs(float(_swapped(tuned, baseline, np.ones((1, n)))[0])) * (1 - 1e-12)
    rows, hits = max(1, _SWAPS_AT_ONCE // n), 0
    for start in range(0, draws, rows):
        kept = generator.random((min(rows, draws - start), count)) < 0.5
        hits += int((np.abs(_swapped(tuned, baseline, kept[:, codes].astype(np.float64))) >= least).sum())
    return (1 + hits) / (1 + draws)


def _swapped(tuned: Corpus, baseline: Corpus, kept: FloatArray) -> FloatArray:
    """Return tuned minus baseline, shape (draws,), where samples with kept = 0 change sides; kept: (draws, n)."""
    as_answered, exchanged = np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])
    pairs = max(len(tuned.details), len(baseline.details))
    total = np.zeros(len(kept))
    for place in range(pairs):  # A system with fewer seeds meets the other's further seeds again.
        pooled = (
            *tuned.details[place % len(tuned.details)],
            *baseline.details[place % len(baseline.details)],
        )
        total += tuned.statistic(pooled, as_answered) - tuned.statistic(pooled, exchanged)
    return total / pairs


def _bootstrapped(corpus: Corpus, statistic: Callable[[FloatArray], FloatArray], seed: int) -> Estimate:
    column: Statistic = lambda weights: statistic(weights)[:, None]  # noqa: E731
    try:
        result = bootstrap(column, corpus.draws, seed=seed)[0]
    except ValueError as error:
        raise Incomparable(f"{corpus.name}: {error}; statistic() must be finite for every weighting") from error
    return from_bootstrap(result, len(corpus.draws), corpus.scores.clusters)
