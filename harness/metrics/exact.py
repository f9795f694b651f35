"""The share of right answers: of labels, and of whole answers.

When two values that a task read are the same answer.

The share of answers that a pattern fits.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.errors import InvalidData, InvalidExperiment
from harness.types.protocols import Direction
from harness.types.samples import Answer, Sample
from harness.types.unicode import comparable


def canonical(value: object) -> str:
    """Return the text that two JSON-able values share exactly when they are the same answer.

    The order of an object's keys says nothing, the order of a list does. Texts are compared as `comparable` spells
    them: composed or not, with or without marks that show nothing. Numbers are compared as numbers, so 1 is
    1.0; a bool is not a number, and a number is not the text that spells it.

    Raises:
        InvalidData: If JSON cannot hold the value.
    """
    try:
        return json.dumps(_plain(value), sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"{value!r} is not a JSON value ({error}); let Task.read return one, or None") from error


def expected_value(sample: Sample) -> object:
    """Return `sample.expected`; a reference that nobody can read would make every answer wrong, so it raises."""
    if sample.expected is None:
        raise InvalidData(
            f"sample {sample.id!r}: its reference {sample.reference[:80]!r} cannot be read by the task, so no answer "
            "could be right; mend the reference or Task.read"
        )
    return sample.expected


def right(sample: Sample, answer: Answer) -> bool:
    """Say whether the answer's value is the expected one; an answer that could not be read is not."""
    expected, value = expected_value(sample), answer.value
    if isinstance(expected, str) and isinstance(value, str):  # labels, mostly: no JSON is needed to tell
        return expected == value or comparable(expected) == comparable(value)
    wanted = canonical(expected)
    return value is not None and canonical(value) == wanted


def _plain(value: object) -> object:
    """Return `value` with whole floats as ints and tuples as lists."""
    if isinstance(value, Mapping):
        return {_text_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return comparable(value) if isinstance(value, str) else value


def _text_key(key: object) -> str:
    if isinstance(key, str):
        return comparable(key)
    raise TypeError(f"key {key!r} is not text")


Normalisation = Literal["case", "space", "punctuation", "articles", "nfkc"]

_NORMALISATIONS = ("case", "space", "punctuation", "articles", "nfkc")
_ENGLISH_ARTICLES = re.compile(r"\b(?:a|an|the)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Accuracy:
    """The share of samples whose label is right; an answer that could not be read is wrong.

    For tasks that answer with one of a few labels. It asks the same as `ExactMatch()` and shares its code; the two
    names say whether labels or whole answers were counted, and only whole answers have spelling to normalise.

    Examples:
        >>> sample = Sample(id="1", input="My card was declined.", reference="payment", expected="payment")
        >>> Accuracy().score(sample, Answer(sample_id="1", text="payment", value="payment"))
        1.0
    """

    name: ClassVar[str] = "accuracy"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> float:
        return float(right(sample, answer))


@dataclass(frozen=True)
class ExactMatch:
    """The share of samples whose whole answer is right: every field of an object, every word of a text.

    Values are compared, not spellings of JSON: the order of keys and 1 against 1.0 make no difference.

    Args:
        normalise: What every text inside both values loses before it is compared. "case": capitals. "space": runs of
            white space become one space, none at the ends. "punctuation": every punctuation mark (Unicode category P).
            "articles": the English a, an and the. "nfkc": what Unicode calls compatible, such as full-width letters,
            ligatures and superscripts. () compares to the letter, in any case in Unicode form NFC and without marks
            that show nothing.

    Raises:
        InvalidExperiment: If `normalise` holds an unknown word, or is no tuple.

    Examples:
        >>> sample = Sample(id="1", input="The capital of France?", reference="Paris", expected="Paris")
        >>> answer = Answer(sample_id="1", text="paris.", value="paris.")
        >>> ExactMatch().score(sample, answer)
        0.0
        >>> ExactMatch(normalise=("case", "punctuation")).score(sample, answer)
        1.0
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


@dataclass(frozen=True)
class Regex:
    """1 if `pattern` is found in the answer's text, else 0; both in Unicode form NFC.

    Args:
        pattern: A regular expression of Python.
        whole: The pattern must fit the whole text, white space at its ends left out.
        name: How pages call it; give two patterns of one experiment two names.

    Raises:
        InvalidExperiment: If `pattern` is no regular expression, or `name` is blank.

    Examples:
        >>> sample = Sample(id="1", input="When?", reference="2024-05-01")
        >>> Regex(r"\\d{4}-\\d{2}-\\d{2}", whole=True).score(sample, Answer(sample_id="1", text="2023-12-31"))
        1.0
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
