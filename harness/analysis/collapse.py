"""A tuned system that says one and the same thing to nearly everything."""

from collections import Counter
from collections.abc import Sequence

from harness.metrics.exact import canonical
from harness.stats.wording import FRACTION, count, rounded
from harness.types.samples import Answer, Check, Sample

COLLAPSED = "collapsed"
_NEARLY_ALL = 0.95
_FEWEST = 10  # samples, below which one answer to all of them is no sign
_SHOWN_CHARACTERS = 60


def collapse(system: str, samples: Sequence[Sample], answers: Sequence[Answer]) -> Check | None:
    """Return whether one answer was given to nearly all samples, though their references differ.

    None if there are too few samples to tell, or where nearly all references are one and the same.
    """
    n = len(samples)
    said = Counter(_key(answer.value, answer.text) for answer in answers)
    right = Counter(_key(sample.expected, sample.reference) for sample in samples)
    if n < _FEWEST or right.most_common(1)[0][1] >= _NEARLY_ALL * n:
        return None
    ((answer, times),) = said.most_common(1)
    if times < _NEARLY_ALL * n:
        return Check(name=COLLAPSED, status="ok", detail=f"{system}: {count(len(said), 'different answer')} on DEV")
    same = right[answer] / n
    return Check(
        name=COLLAPSED,
        status="warning",
        detail=f"{system} has collapsed to one answer: it says {answer[:_SHOWN_CHARACTERS]!r} to {times:,} of "
        f"{count(n, 'DEV sample')}, which is right for {rounded(same, unit=FRACTION)} of them",
        items=({"system": system, "answer": answer, "times": times, "samples": n},),
    )


def _key(value: object, text: str) -> str:
    """Return what is compared: the value as read, the text if nothing was read."""
    if value is None:
        return text.strip()
    return value.strip() if isinstance(value, str) else canonical(value)
