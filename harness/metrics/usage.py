"""What an answer took: tokens and seconds. of_usage: nothing is said of how good it is."""

from dataclasses import dataclass, field
from typing import ClassVar

from harness.errors import InvalidExperiment
from harness.protocols import Direction
from harness.samples import TIMED_IN_BATCH, Answer, Sample, Score

_FEWEST_TIMED = 5


@dataclass(frozen=True)
class TokensIn:
    """Tokens of the prompt as really rendered, mean a sample; lower is better."""

    name: ClassVar[str] = "tokens_in"
    better: ClassVar[Direction] = "lower"
    of_usage: ClassVar[bool] = True
    unit: ClassVar[str] = "tokens"

    def score(self, sample: Sample, answer: Answer) -> float:
        return float(answer.tokens_in)


@dataclass(frozen=True)
class TokensOut:
    """Tokens of the answer, mean a sample; lower is better."""

    name: ClassVar[str] = "tokens_out"
    better: ClassVar[Direction] = "lower"
    of_usage: ClassVar[bool] = True
    unit: ClassVar[str] = "tokens"

    def score(self, sample: Sample, answer: Answer) -> float:
        return float(answer.tokens_out)


@dataclass(frozen=True)
class Latency:
    """Seconds an answer took, mean a sample, with those of looking something up for its prompt; lower is better.

    In a batch a sample's seconds are its share of the batch's wall time: throughput, not the wait of one caller. Such a
    time is dealt out evenly, so that batches are counted and not samples: with few of them the interval is wide, with
    one it has no ends.

    one_at_a_time: ask `samples` of the split's samples again, evenly spread, each by itself: what a single caller
    waits. With several seeds the first one's model is timed.
    """

    better: ClassVar[Direction] = "lower"
    of_usage: ClassVar[bool] = True
    unit: ClassVar[str] = "s"

    one_at_a_time: bool = field(default=False, metadata={"key": "changed"})
    samples: int = field(default=32, metadata={"key": "changed"})

    def __post_init__(self) -> None:
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < _FEWEST_TIMED:
            raise InvalidExperiment(
                f"Latency(samples={self.samples!r}): give a whole number of {_FEWEST_TIMED} or more, since a mean of "
                "fewer times has hardly an interval"
            )

    @property
    def name(self) -> str:
        return "latency_one_at_a_time" if self.one_at_a_time else "latency"

    def score(self, sample: Sample, answer: Answer) -> float | Score:
        if answer.timed_in_batch is None:
            return answer.seconds
        return Score(answer.seconds, {TIMED_IN_BATCH: answer.timed_in_batch})
