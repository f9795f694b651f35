"""Perplexity of the reference answer given the prompt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from harness.errors import InvalidEvidence, InvalidExperiment
from harness.types.protocols import Direction, FloatArray
from harness.types.samples import Answer, Sample, Score

Per = Literal["token", "byte"]
PER: tuple[Per, ...] = get_args(Per)


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood of the reference answers, in nats a unit; lower is better.

    The score of a sample is its negative log-likelihood a unit. The metric is the `statistic`: total over total, so
    that a long answer weighs as much as its length.

    Args:
        per: The unit. "token" counts the model's own tokens, so it compares systems that share a tokenizer; "byte"
            counts UTF-8 bytes of the answer and compares any two.

    Raises:
        InvalidExperiment: If `per` is neither.

    Examples:
        >>> Perplexity(per="byte").name
        'byte_perplexity'
    """

    per: Per = "token"

    better: ClassVar[Direction] = "lower"
    needs_likelihood: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.per not in PER:
            raise InvalidExperiment(f'Perplexity(per={self.per!r}): "token" or "byte" is needed')

    @property
    def name(self) -> str:
        return "perplexity" if self.per == "token" else "byte_perplexity"

    def score(self, sample: Sample, answer: Answer) -> Score:
        """Return nats a unit with detail [negative log-likelihood in nats, units].

        Raises:
            InvalidEvidence: If the likelihood is absent, not finite, or of an empty reference.
        """
        likelihood = answer.likelihood
        if likelihood is None:
            raise InvalidEvidence(
                f"sample {sample.id!r} has no likelihood of its reference, which {self.name} needs; "
                "use a model that runs here or an endpoint that returns log-probabilities of the prompt"
            )
        units = likelihood.tokens if self.per == "token" else likelihood.bytes
        if units < 1:
            raise InvalidEvidence(f"sample {sample.id!r} has an empty reference, which has no {self.name}; remove it")
        if not math.isfinite(likelihood.logprob):
            raise InvalidEvidence(
                f"sample {sample.id!r}: the log-likelihood of its reference is {likelihood.logprob}; "
                "the model overflowed: load it with dtype='float32', or look at the training log"
            )
        return Score(-likelihood.logprob / units, detail=[-likelihood.logprob, units])

    def statistic(self, details: Sequence[object], weights: FloatArray) -> FloatArray:
        """Return the perplexity of each weighted set, shape (resamples,); NaN for a set without samples.

        Args:
            details: [nats, units] of each sample.
            weights: Shape (resamples, n).
        """
        totals = weights @ np.asarray(details, dtype=np.float64).reshape(len(details), 2)  # (resamples, 2)
        nats, units = totals[:, 0], totals[:, 1]
        nats_per_unit = np.divide(nats, units, out=np.full(len(weights), np.nan), where=units > 0)
        with np.errstate(over="ignore"):  # past 709 nats a unit the honest value is infinite
            perplexities: FloatArray = np.exp(nats_per_unit)
        return perplexities
