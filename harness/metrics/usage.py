"""What an answer took: tokens and seconds."""

from dataclasses import dataclass
from typing import ClassVar

from harness.protocols import Direction
from harness.samples import Answer, Sample


@dataclass(frozen=True)
class TokensIn:
    """Tokens of the prompt as really rendered, mean a sample; lower is better."""

    name: ClassVar[str] = "tokens_in"
    better: ClassVar[Direction] = "lower"
    unit: ClassVar[str] = "tokens"

    def score(self, sample: Sample, answer: Answer) -> float:
        return float(answer.tokens_in)


@dataclass(frozen=True)
class TokensOut:
    """Tokens of the answer, mean a sample; lower is better."""

    name: ClassVar[str] = "tokens_out"
    better: ClassVar[Direction] = "lower"
    unit: ClassVar[str] = "tokens"

    def score(self, sample: Sample, answer: Answer) -> float:
        return float(answer.tokens_out)


@dataclass(frozen=True)
class Latency:
    """Seconds an answer took, mean a sample; lower is better.

    In a batch a sample's seconds are its share of the batch's wall time: throughput, not the wait of one caller.
    """

    name: ClassVar[str] = "latency"
    better: ClassVar[Direction] = "lower"
    unit: ClassVar[str] = "s"

    def score(self, sample: Sample, answer: Answer) -> float:
        return answer.seconds
