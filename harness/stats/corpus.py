"""Evidence for metrics of the whole set, such as macro F1 or perplexity: recomputed on each paired resample."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.errors import Incomparable
from harness.stats.bootstrap import RESAMPLES, Kinds, bootstrap, by_kind
from harness.stats.evidence import MeanEstimate, Scores, from_bootstrap, rare_interval, with_seeds
from harness.stats.intervals import Clusters, Interval, cluster_count
from harness.stats.paired_tests import paired_p, wilson_interval
from harness.stats.projection import COSTLY, Places, Projection, projected
from harness.stats.wording import p_text
from harness.types.protocols import FloatArray

_SWAPS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One system's evidence for a corpus metric.

    Args:
        statistic: `CorpusMetric.statistic`.
        details: `Score.detail` a seed and sample.
        scores: The per-sample scores, for the p-value, and for the doubt that remains if no resample differs.
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

    def at(self, places: Places, clusters: Clusters | None) -> "Corpus":
        """Return the evidence of these samples, in these clusters."""
        details = tuple(tuple(row[place] for place in places) for row in self.details)
        return replace(self, details=details, scores=self.scores.at(places, clusters))

    def one_seed(self) -> "Corpus":
        """Return the evidence of the first seed alone."""
        return replace(self, details=self.details[:1], scores=replace(self.scores, values=self.scores.values[:1]))

    def _by_seed(self, weights: FloatArray) -> FloatArray:
        return np.stack([np.asarray(self.statistic(row, weights), dtype=np.float64) for row in self.details])


def corpus_mean(corpus: Corpus, *, seed: int, level: float = 0.95) -> MeanEstimate:
    """Return the statistic with its BCa interval.

    Raises:
        Incomparable: If the statistic of a resample is not finite.
    """
    estimate = _bootstrapped([corpus], seed, level)
    if corpus.scores.binary and estimate.interval.low == estimate.interval.high:
        wilson = wilson_interval(float(corpus.scores.items.mean()), cluster_count(corpus.draws), level=level)
        method = f"{estimate.method}; Wilson's, since no resample differs"
        estimate = replace(estimate, interval=estimate.interval.hull(wilson), method=method)
    estimate = with_seeds(estimate, corpus.observed, None, level=level)
    return replace(estimate, interval=estimate.interval.within(-1.0, 1.0)) if corpus.scores.bounded else estimate


def corpus_difference(tuned: Corpus, baseline: Corpus, *, seed: int, level: float = 0.95) -> MeanEstimate:
    """Return the difference of the statistics: both are recomputed on the same draws.

    The p-value is that of the swap test for right-or-wrong scores (macro F1), and of a paired t test of the
    per-sample scores otherwise (perplexity: log losses compare sample by sample, where exp would not).

    Raises:
        Incomparable: If the statistic of a resample is not finite.
    """
    estimate = _bootstrapped([tuned, baseline], seed, level)
    differences = tuned.scores.items - baseline.scores.items
    if tuned.scores.binary and baseline.scores.binary:
        if estimate.interval.low == estimate.interval.high:
            widened = estimate.interval.hull(rare_interval(differences, tuned.scores.clusters, level=level))
            method = f"{estimate.method}; Bonett-Price, since no resample differs"
            estimate = replace(estimate, interval=widened, method=method)
        p_value, test = swap_p(tuned, baseline, seed=seed), "swap test of the metric"
        if p_value > 1 - level and 0.0 not in estimate.interval:
            note = f"the swap test does not exclude 0 ({p_text(p_value)}): the interval is widened to it"
            estimate = replace(estimate, interval=estimate.interval.hull(Interval(0.0, 0.0)), notes=(note,))
    else:
        p_value, test = paired_p(differences, tuned.scores.clusters), "paired t test of the scores"
    estimate = replace(estimate, p_value=p_value, method=f"{estimate.method}; {test}")
    estimate = with_seeds(estimate, tuned.observed, baseline.observed, level=level)
    both = tuned.scores.bounded and baseline.scores.bounded
    return replace(estimate, interval=estimate.interval.within(-1.0, 1.0)) if both else estimate


def project_corpus(tuned: Corpus, baseline: Corpus, *, seed: int, level: float) -> Projection:
    """Return what `corpus_difference` and `corpus_mean` would say of other numbers of samples."""
    gained, clusters = tuned.scores.items - baseline.scores.items, tuned.scores.clusters

    def difference(units: int) -> Interval:
        seen = projected(gained, clusters, units)
        return corpus_difference(tuned.at(*seen), baseline.at(*seen), seed=seed, level=level).interval

    def own(units: int) -> Interval:
        return corpus_mean(tuned.at(*projected(gained, clusters, units)), seed=seed, level=level).interval

    several = max(len(tuned.details), len(baseline.details)) > 1
    return Projection(
        units=cluster_count(tuned.draws),
        samples=gained.size,
        difference=difference,
        own=own,
        most=COSTLY,
        one_seed=project_corpus(tuned.one_seed(), baseline.one_seed(), seed=seed, level=level) if several else None,
    )


def swap_p(tuned: Corpus, baseline: Corpus, *, seed: int, draws: int = RESAMPLES) -> float:
    """Return the two-sided p-value of "it does not matter which system answered", (1 + hits) / (1 + draws).

    Each draw swaps the two systems' answers for a random half of the samples (clusters as a whole) and computes
    the difference again: the sign-flip test for a metric that is no mean.
    Source: Noreen, Computer-Intensive Methods for Testing Hypotheses (1989).
    """
    codes, count = tuned.draws, cluster_count(tuned.draws)
    n, generator = codes.size, np.random.default_rng(seed)
    kinds, (tuned, baseline) = _kinds(tuned, baseline)
    sizes = np.bincount(kinds).astype(np.float64)
    least = abs(float(_swapped(tuned, baseline, sizes[None, :], sizes)[0])) * (1 - 1e-12)
    rows, hits = max(1, _SWAPS_AT_ONCE // n), 0
    for start in range(0, draws, rows):
        kept = generator.random((min(rows, draws - start), count)) < 0.5
        weights = by_kind(kept[:, codes].astype(np.float64), kinds)
        hits += int((np.abs(_swapped(tuned, baseline, weights, sizes)) >= least).sum())
    return (1 + hits) / (1 + draws)


def _swapped(tuned: Corpus, baseline: Corpus, kept: FloatArray, sizes: FloatArray) -> FloatArray:
    """Return tuned minus baseline, shape (draws,), where the samples that are not kept change sides.

    Args:
        kept: Shape (draws, K), how many of each kind stay.
        sizes: Shape (K,), how many there are.
    """
    as_answered, exchanged = np.hstack([kept, sizes - kept]), np.hstack([sizes - kept, kept])
    pairs = max(len(tuned.details), len(baseline.details))
    total = np.zeros(len(kept))
    for place in range(pairs):  # A system with fewer seeds meets the other's further seeds again.
        pooled = (
            *tuned.details[place % len(tuned.details)],
            *baseline.details[place % len(baseline.details)],
        )
        total += tuned.statistic(pooled, as_answered) - tuned.statistic(pooled, exchanged)
    return total / pairs


def _bootstrapped(corpora: Sequence[Corpus], seed: int, level: float) -> MeanEstimate:
    """Return the statistic of the first corpus, minus that of the second if there is one."""
    first = corpora[0]
    kinds, distinct = _kinds(*corpora)

    def statistic(weights: FloatArray) -> FloatArray:
        found = [corpus.of(weights) for corpus in distinct]
        return (found[0] if len(found) == 1 else found[0] - found[1])[:, None]

    try:
        result = bootstrap(statistic, first.draws, seed=seed, kinds=kinds, level=level)[0]
    except ValueError as error:
        raise Incomparable(f"{first.name}: {error}; statistic() must be finite for every weighting") from error
    return from_bootstrap(result, len(first.draws), first.scores.clusters, level=level, own=len(corpora) == 1)


def _kinds(*corpora: Corpus) -> tuple[Kinds, list[Corpus]]:
    """Return which samples are the same in every row of every corpus, and the corpora with one sample a kind.

    Of 100,000 samples with 20 labels some 400 differ, and a statistic of these takes milliseconds where one of all
    takes a second, 10,000 times. Where most samples differ there is nothing to gain, and each is its own kind.
    """
    rows = [row for corpus in corpora for row in corpus.details]
    texts = [[json.dumps(detail, default=id) for detail in row] for row in rows]
    numbers: dict[tuple[str, ...], int] = {}
    kinds = np.array([numbers.setdefault(key, len(numbers)) for key in zip(*texts, strict=True)], dtype=np.int64)
    if 2 * len(numbers) > kinds.size:
        return np.arange(kinds.size), list(corpora)
    places = np.unique(kinds, return_index=True)[1]
    return kinds, [
        replace(corpus, details=tuple(tuple(row[place] for place in places) for row in corpus.details))
        for corpus in corpora
    ]
