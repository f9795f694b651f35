"""The share of right answers: of labels, and of whole answers."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment
from harness.metrics.values import canonical, expected_value, right
from harness.protocols import Direction
from harness.samples import Answer, Sample
from harness.unicode import comparable

Normalisation = Literal["case", "space", "punctuation", "articles", "nfkc"]

_NORMALISATIONS = ("case", "space", "punctuation", "articles", "nfkc")
_ENGLISH_ARTICLES = re.compile(r"\b(?:a|an|the)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Accuracy:
    """The share of samples whose label is right; an answer that could not be read is wrong.

    For tasks that answer with one of a few labels. It asks the same as `ExactMatch()` and shares its code; the two
    names say whether labels or whole answers were counted, and only whole answers have spelling to normalise.
    """

    name: ClassVar[str] = "accuracy"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> float:
        return float(right(sample, answer))


@dataclass(frozen=True)
class ExactMatch:
    """The share of samples whose whole answer is right: every field of an object, every word of a text.

    Values are compared, not spellings of JSON: the order of keys and 1 against 1.0 make no difference.

    normalise: what every text inside both values loses before it is compared. "case": capitals. "space": runs of
    white space become one space, none at the ends. "punctuation": every punctuation mark (Unicode category P).
    "articles": the English a, an and the. "nfkc": what Unicode calls compatible, such as full-width letters, ligatures
    and superscripts. () compares to the letter, in any case in Unicode form NFC and without marks that show nothing.
    """

    normalise: tuple[Normalisation, ...] = ()

    name: ClassVar[str] = "exact_match"
    better: ClassVar[Direction] = "higher"

    def __post_init__(self) -> None:
        unknown = [step for step in self.normalise if step not in _NORMALISATIONS]
        if isinstance(self.normalise, str) or unknown:
            raise InvalidExperiment(
                f"ExactMatch(normalise={self.normalise!r}): give a tuple of {', '.join(map(repr, _NORMALISATIONS))}, "
                'such as ("case", "space")'
            )

    def score(self, sample: Sample, answer: Answer) -> float:
        if not self.normalise:
            return float(right(sample, answer))
        expected = canonical(self._normalised(expected_value(sample)))
        return float(answer.value is not None and canonical(self._normalised(answer.value)) == expected)

    def _normalised(self, value: object) -> object:
        if isinstance(value, str):
            return self._normalised_text(value)
        if isinstance(value, Mapping):
            return {key: self._normalised(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._normalised(item) for item in value]
        return value

    def _normalised_text(self, text: str) -> str:
        text = comparable(text)
        if "nfkc" in self.normalise:
            text = unicodedata.normalize("NFKC", text)
        if "case" in self.normalise:
            text = text.casefold()
        if "punctuation" in self.normalise:
            text = "".join(mark for mark in text if not unicodedata.category(mark).startswith("P"))
        if "articles" in self.normalise:
            text = _ENGLISH_ARTICLES.sub(" ", text)
        # Articles leave gaps behind, which nobody means to compare.
        if "space" in self.normalise or "articles" in self.normalise:
            text = " ".join(text.split())
        return text
