"""A reward that the tiny model can learn in a few steps, and the shape of jobs that teach it."""

from collections.abc import Callable
from dataclasses import replace

from harness.recipes import Reinforced, Weighted
from harness.types.jobs import LogPoint, TuneResult
from harness.types.samples import Answer, Sample


def lowercase(sample: Sample, answer: Answer) -> float:
    """Return the share of the answer's characters that are small letters; the untrained model has about 0.43."""
    return sum(mark.islower() for mark in answer.text) / max(1, len(answer.text))


def logged(result: TuneResult, name: str) -> list[float]:
    """Return one value of the training log, step by step."""
    return [point.value for point in result.log if point.name == name]


def statuses(result: TuneResult) -> dict[str, str]:
    return {check.name: check.status for check in result.checks}


def timeless(result: TuneResult) -> list[LogPoint]:
    """Return the log without what the machine makes of it."""
    return [point for point in result.log if point.name not in ("seconds", "memory")]


def interrupting(recipe: Reinforced, *, after: int) -> Reinforced:
    """Return `recipe` with its reward, `lowercase`, which interrupts the run after so many completions."""
    calls = 0

    def score(sample: Sample, answer: Answer) -> float:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        return lowercase(sample, answer)

    held = replace(recipe, reward=None)
    object.__setattr__(held, "reward", (Weighted(_Unkeyed(score)),))
    return held


class _Unkeyed:
    """A grader that counts, for which no recipe could have a key."""

    name = "lowercase"
    better = "higher"

    def __init__(self, score: Callable[[Sample, Answer], float]) -> None:
        self.score = score
