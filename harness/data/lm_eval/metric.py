"""lm-eval's own metrics as metrics of an experiment: its filters, its scores, its aggregation."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from harness.errors import InvalidExperiment
from harness.types.protocols import Direction, FloatArray
from harness.types.samples import Answer, Sample, Score

# Metrics whose meaning is in lm-eval's registry: which way is better, and whether they are of the whole set.
_KNOWN: Mapping[str, tuple[Direction, bool]] = {
    "acc": ("higher", False),
    "acc_norm": ("higher", False),
    "acc_bytes": ("higher", False),
    "acc_mutual_info": ("higher", False),
    "exact_match": ("higher", False),
    "word_perplexity": ("lower", True),
    "byte_perplexity": ("lower", True),
    "bits_per_byte": ("lower", True),
    "perplexity": ("lower", True),
}
# A corpus metric is recomputed on each of some 10,000 resamples.
_LONGEST_SECONDS_A_SET = 0.05


class OwnsMetrics(Protocol):
    """What a metric needs of `LmEvalTask`."""

    @property
    def name(self) -> str: ...
    @property
    def documents(self) -> Any: ...
    def values(self, sample: Sample, answer: Answer, filter_name: str | None) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class _OfTask:
    task: OwnsMetrics
    metric: str
    filter: str | None
    better: Direction

    @property
    def name(self) -> str:
        return self.metric if self.filter is None else f"{self.metric} ({self.filter})"


@dataclass(frozen=True)
class LmEvalMetric(_OfTask):
    """A metric that lm-eval averages. filter: which of the task's filter pipelines, None is the first."""

    def score(self, sample: Sample, answer: Answer) -> float:
        """Return lm-eval's value of one answer.

        Raises:
            InvalidExperiment: If the task has no such metric, or does not average it.
        """
        value = _value(self.task, self.metric, self.filter, sample, answer)
        aggregation = self.task.documents.aggregation(self.metric)
        if aggregation.__name__ != "mean" or not isinstance(value, int | float | np.generic):
            raise InvalidExperiment(
                f"lm-eval task {self.task.name!r} aggregates {self.metric!r} with {aggregation.__name__}, not with the "
                "mean that its name stands for; give that metric a name of its own in the task's file"
            )
        return float(value)


@dataclass(frozen=True)
class LmEvalCorpusMetric(_OfTask):
    """A metric that lm-eval computes of the whole set, such as a perplexity or F1.

    The score of one sample is its negative log-likelihood a unit for perplexities (nats; bits for bits_per_byte),
    whether it is right for F1 and MCC, and the metric of that sample alone for any other.
    """

    def score(self, sample: Sample, answer: Answer) -> Score:
        """Return one sample's score; its detail is what lm-eval aggregates."""
        item = _plain(_value(self.task, self.metric, self.filter, sample, answer))
        return Score(_alone(self.task.documents.aggregation(self.metric), item), detail=item)

    def statistic(self, details: Sequence[object], weights: FloatArray) -> FloatArray:
        """Return lm-eval's aggregation of each weighted set, shape (resamples,).

        Raises:
            InvalidExperiment: If one set takes so long that the resamples would take hours.
        """
        aggregation = self.task.documents.aggregation(self.metric)
        fast = _FAST.get(aggregation.__name__)
        if fast is not None:
            return fast(details, weights)
        items = [tuple(item) if isinstance(item, list) else item for item in details]
        began = time.perf_counter()
        found = []
        for row in weights:
            found.append(
                _aggregated(aggregation, [items[place] for place in np.repeat(np.arange(len(row)), row.astype(int))])
            )
            if len(weights) > len(found) == 3 and time.perf_counter() - began > 3 * _LONGEST_SECONDS_A_SET:
                raise InvalidExperiment(
                    f"{self.name} of lm-eval task {self.task.name!r} takes {(time.perf_counter() - began) / 3:.2f} s a "
                    "set, and its interval some 10,000 sets; judge by a metric that scores each sample"
                )
        return np.array(found, dtype=np.float64)


def metric_of(task: OwnsMetrics, name: str, filter_name: str | None) -> LmEvalMetric | LmEvalCorpusMetric:
    """Return the metric called `name`; one that is not in the table of common ones loads the task.

    Raises:
        InvalidExperiment: If the loaded task has no such metric.
    """
    if name in _KNOWN:
        better, of_the_set = _KNOWN[name]
    else:
        better = "higher" if task.documents.higher_is_better(name) else "lower"
        of_the_set = task.documents.aggregation(name).__name__ != "mean"
    return (LmEvalCorpusMetric if of_the_set else LmEvalMetric)(task, name, filter_name, better)


def _value(task: OwnsMetrics, metric: str, filter_name: str | None, sample: Sample, answer: Answer) -> Any:
    values = task.values(sample, answer, filter_name)
    if metric not in values:
        raise InvalidExperiment(
            f"lm-eval task {task.name!r} gives no metric {metric!r}; it gives {', '.join(sorted(values)) or 'none'}"
        )
    return values[metric]


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _alone(aggregation: Callable[..., Any], item: Any) -> float:
    if aggregation.__name__ == "perplexity":
        return -float(item)
    if aggregation.__name__ in ("weighted_perplexity", "bits_per_byte"):
        nats = -item[0] / item[1] if item[1] else 0.0
        return nats / math.log(2) if aggregation.__name__ == "bits_per_byte" else nats
    if aggregation.__name__ in ("f1_score", "matthews_corrcoef"):
        return float(item[0] == item[1])
    found = _aggregated(aggregation, [tuple(item) if isinstance(item, list) else item])
    return found if math.isfinite(found) else 0.0


def _aggregated(aggregation: Callable[..., Any], items: list[Any]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a resample without some label
        return float(aggregation(items))


def _weighted_mean(details: Sequence[object], weights: FloatArray) -> FloatArray:
    totals = weights @ np.asarray(details, dtype=np.float64)  # (resamples, 2): nats, units
    means: FloatArray = totals[:, 0] / totals[:, 1]
    return means


def _perplexity(details: Sequence[object], weights: FloatArray) -> FloatArray:
    found: FloatArray = np.exp(-(weights @ np.asarray(details, dtype=np.float64)) / weights.sum(axis=1))
    return found


def _binary_f1(details: Sequence[object], weights: FloatArray) -> FloatArray:
    gold, said = np.asarray(details).T == 1  # both (n,)
    hits, counts = weights @ (gold & said), weights @ gold + weights @ said
    found: FloatArray = np.divide(2 * hits, counts, out=np.zeros(len(weights)), where=counts > 0)
    return found


_FAST: Mapping[str, Callable[[Sequence[object], FloatArray], FloatArray]] = {
    "weighted_perplexity": lambda details, weights: np.exp(-_weighted_mean(details, weights)),
    "bits_per_byte": lambda details, weights: -_weighted_mean(details, weights) / math.log(2),
    "perplexity": _perplexity,
    "f1_score": _binary_f1,
}
