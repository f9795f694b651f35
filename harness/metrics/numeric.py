"""The share of answers whose last number is the reference's."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from harness.errors import InvalidData, InvalidExperiment
from harness.protocols import Direction
from harness.samples import Answer, Sample, Score

# A sign after a word, a number or a bracket is an operator: the last number of "7-2" is 2.
_NUMBER = re.compile(
    r"(?:(?<![\w.)\]])[-+\u2212])?(?<![A-Za-z_\d.])"
    r"(?:\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?"
)


@dataclass(frozen=True)
class Numeric:
    """1 where the last number of the answer is the last number of the reference, else 0.

    Read are 42, -3.5, 1,234.5, .5 and 2e-3; an answer without a number scores 0. Numbers are compared as written, in
    decimals, so that 0.1 + 0.2 is no matter.

    tolerance: how far off the answer may be. relative: the same as a share of the reference; the wider one counts.
    """

    tolerance: float = 0.0
    relative: float = 0.0

    name: ClassVar[str] = "numeric"
    better: ClassVar[Direction] = "higher"

    def __post_init__(self) -> None:
        for field, value in (("tolerance", self.tolerance), ("relative", self.relative)):
            if not 0 <= value < float("inf"):
                raise InvalidExperiment(f"Numeric({field}={value}): give 0 or more; 0 asks for the number itself")

    def score(self, sample: Sample, answer: Answer) -> Score:
        """Return the score with detail [expected, found], as text; found is None where there is no number.

        Raises InvalidData for a reference without a number.
        """
        expected, found = last_number(sample.reference), last_number(answer.text)
        if expected is None:
            raise InvalidData(
                f"sample {sample.id!r}: its reference {sample.reference[:80]!r} holds no number, so no answer could be "
                "right; mend the reference, or use another metric than Numeric"
            )
        allowed = max(Decimal(repr(self.tolerance)), Decimal(repr(self.relative)) * abs(expected))
        right = found is not None and abs(found - expected) <= allowed
        return Score(float(right), detail=[str(expected), None if found is None else str(found)])


def last_number(text: str) -> Decimal | None:
    """Return the last number written in `text`, None where there is none."""
    found = None
    for match in _NUMBER.finditer(text):
        found = match
    if found is None:
        return None
    return Decimal(found.group().replace(",", "").replace("\u2212", "-"))
