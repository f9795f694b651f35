"""The share of answers that a pattern fits."""

import re
import unicodedata
from dataclasses import dataclass
from typing import ClassVar

from harness.errors import InvalidExperiment
from harness.protocols import Direction
from harness.samples import Answer, Sample


@dataclass(frozen=True)
class Regex:
    """1 where `pattern` is found in the answer's text, else 0; both in Unicode form NFC.

    whole: the pattern must fit the whole text, white space at its ends left out. name: how pages call it; give two
    patterns of one experiment two names.
    """

    pattern: str
    whole: bool = False
    name: str = "regex"

    better: ClassVar[Direction] = "higher"

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            raise InvalidExperiment(f"Regex({self.pattern!r}) is no regular expression: {error}") from error
        if not self.name.strip():
            raise InvalidExperiment(f"Regex({self.pattern!r}, name=''): give it a name, or leave name out")

    def score(self, sample: Sample, answer: Answer) -> float:
        # Only the form is made one: a pattern may look for marks that show nothing.
        pattern, text = (unicodedata.normalize("NFC", part) for part in (self.pattern, answer.text))
        if self.whole:
            return float(re.fullmatch(pattern, text.strip()) is not None)
        return float(re.search(pattern, text) is not None)
