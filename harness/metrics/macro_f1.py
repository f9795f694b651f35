"""Macro F1: every label counts the same, however rare it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from harness.metrics.exact import canonical, expected_value, right
from harness.types.protocols import Direction, FloatArray
from harness.types.samples import Answer, Sample, Score


@dataclass(frozen=True)
class MacroF1:
    """The unweighted mean of the F1 of every label that the references of the set hold.

    A label that only answers use has no F1 of its own: it costs the recall of the label it stands in for. An answer
    that could not be read is such a label. This is scikit-learn's
    `f1_score(expected, predicted, labels=sorted(set(expected)), average="macro", zero_division=0)`.

    The score of one sample is 1 for the right label and 0 else; the metric is the `statistic` of the set.

    Examples:
        >>> Gain(MacroF1(), at_least=0.02).metrics
        ('macro_f1',)
    """

    name: ClassVar[str] = "macro_f1"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> Score:
        """Return 1 or 0 with detail [expected, predicted]; predicted is None if it could not be read."""
        return Score(float(right(sample, answer)), detail=[expected_value(sample), answer.value])

    def statistic(self, details: Sequence[object], weights: FloatArray) -> FloatArray:
        """Return macro F1 of each weighted set, shape (resamples,); NaN for a set without samples.

        Args:
            details: [expected, predicted] of each sample.
            weights: Shape (resamples, n). A label that a resample did not draw is left out of its mean.
        """
        expected, predicted = _one_hot([cast("list[object]", detail) for detail in details])
        hits = weights @ (expected * predicted)  # (resamples, labels)
        support = weights @ expected  # (resamples, labels)
        claimed = weights @ predicted  # (resamples, labels)
        drawn = support > 0
        f1 = np.divide(2 * hits, support + claimed, out=np.zeros_like(hits), where=drawn)
        labels = drawn.sum(axis=1)
        means: FloatArray = np.divide(f1.sum(axis=1), labels, out=np.full(len(weights), np.nan), where=labels > 0)
        return means


def _one_hot(pairs: Sequence[Sequence[object]]) -> tuple[FloatArray, FloatArray]:
    """Return which label each sample has and which was predicted, both shape (n, labels of the references)."""
    expected_labels = [canonical(expected) for expected, _ in pairs]
    columns = {label: column for column, label in enumerate(sorted(set(expected_labels)))}
    expected = np.zeros((len(pairs), len(columns)))
    predicted = np.zeros_like(expected)
    for row, (label, (_, prediction)) in enumerate(zip(expected_labels, pairs, strict=True)):
        expected[row, columns[label]] = 1.0
        column = None if prediction is None else columns.get(canonical(prediction))
        if column is not None:
            predicted[row, column] = 1.0
    return expected, predicted
