"""A reward that the tiny model can learn in a few steps, and the shape of jobs that teach it."""

from harness.jobs import LogPoint, TuneResult
from harness.samples import Answer, Sample


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
