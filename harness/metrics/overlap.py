"""How much of the reference's words or characters an answer has: ROUGE and chrF, without a model."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment
from harness.types.protocols import Direction
from harness.types.samples import Answer, Sample, Score
from harness.types.unicode import comparable

# Blocks of scripts that put no space between words, first and last character: Thai and Lao, Tibetan, Burmese, Khmer,
# kana, and Chinese characters.
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x31F0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@dataclass(frozen=True)
class Rouge:
    """The F1 of the words that answer and reference share: single words, pairs, or the longest common subsequence.

    Words are runs of letters and digits in lower case; of Chinese, Japanese, Thai and other scripts without spaces each
    character is a word, and so is each emoji. On English it is the package rouge-score, without stemming. Equal texts
    score 1, also those too short for a pair.

    Args:
        of: "1" counts single words, "2" pairs, "L" the longest common subsequence.

    Raises:
        InvalidExperiment: If `of` is none of these.

    Source: Lin, ROUGE: A Package for Automatic Evaluation of Summaries (2004).

    Examples:
        >>> sample = Sample(id="1", input="Summarise", reference="the cat sat on the mat")
        >>> round(Rouge("1").score(sample, Answer(sample_id="1", text="the cat sat")).value, 3)
        0.667
    """

    of: Literal["1", "2", "L"] = "L"

    better: ClassVar[Direction] = "higher"
    unit: ClassVar[str] = "%"

    def __post_init__(self) -> None:
        if self.of not in ("1", "2", "L"):
            raise InvalidExperiment(f'Rouge(of={self.of!r}): give "1", "2" or "L"')

    @property
    def name(self) -> str:
        return f"rouge{self.of}"

    def score(self, sample: Sample, answer: Answer) -> Score:
        """Return F1 with detail {"precision", "recall"}."""
        if comparable(answer.text).strip() == comparable(sample.reference).strip():
            same = float(bool(sample.reference.strip()))
            return Score(same, detail={"precision": same, "recall": same})
        said, meant = words(answer.text), words(sample.reference)
        if self.of == "L":
            shared, of_said, of_meant = _common_subsequence(said, meant), len(said), len(meant)
        else:
            pairs, wanted = (Counter(_grams(side, int(self.of))) for side in (said, meant))
            shared, of_said, of_meant = (pairs & wanted).total(), pairs.total(), wanted.total()
        if said == meant and said and not of_meant:
            shared = of_said = of_meant = 1
        precision, recall = (shared / total if total else 0.0 for total in (of_said, of_meant))
        f1 = 2 * precision * recall / (precision + recall) if shared else 0.0
        return Score(f1, detail={"precision": precision, "recall": recall})


@dataclass(frozen=True)
class Chrf:
    """The F score of the character n-grams that answer and reference share; it serves every language.

    It needs no words and no model. A sample's score is sacrebleu's chrF of the sentence, from 0 to 1; the mean of
    sentences is compared, not the corpus score.

    Args:
        word_order: 2 counts word pairs as well, which is chrF++; leave it at 0 for scripts without spaces.
        char_order: The longest n-grams, in characters, 1 or more.
        beta: How much more recall counts than precision, above 0.

    Raises:
        InvalidExperiment: If a number is out of its range.

    Source: Popović, chrF: character n-gram F-score for automatic MT evaluation (2015).

    Examples:
        >>> sample = Sample(id="1", input="Translate: house", reference="la maison")
        >>> Chrf().score(sample, Answer(sample_id="1", text="la maison")).value
        1.0
    """

    word_order: int = 0
    char_order: int = 6
    beta: float = 2.0

    better: ClassVar[Direction] = "higher"
    unit: ClassVar[str] = "%"

    def __post_init__(self) -> None:
        if self.char_order < 1 or self.word_order < 0 or not 0 < self.beta < float("inf"):
            raise InvalidExperiment(
                f"Chrf(word_order={self.word_order}, char_order={self.char_order}, beta={self.beta}): give 0 or more, "
                "1 or more, and a number above 0"
            )

    @property
    def name(self) -> str:
        return "chrf" + "+" * self.word_order

    def score(self, sample: Sample, answer: Answer) -> Score:
        """Return the F score with detail {"precision", "recall"}, means over the orders that both texts have."""
        said, meant = (
            _orders(comparable(text), self.char_order, self.word_order) for text in (answer.text, sample.reference)
        )
        found = [
            ((one & other).total(), one.total(), other.total())
            for one, other in zip(said, meant, strict=True)
            if one and other
        ]
        if not any(shared for shared, _, _ in found):
            return Score(0.0, detail={"precision": 0.0, "recall": 0.0})
        precision = sum(shared / total for shared, total, _ in found) / len(found)
        recall = sum(shared / total for shared, _, total in found) / len(found)
        factor = self.beta**2
        value = (1 + factor) * precision * recall / (factor * precision + recall)
        return Score(value, detail={"precision": precision, "recall": recall})


@lru_cache(maxsize=4096)  # A reference is met again by every system.
def words(text: str) -> tuple[str, ...]:
    """Return the words of `text` in lower case; each character of a script that puts no spaces is one."""
    found: list[str] = []
    open_word = False
    for character in unicodedata.normalize("NFKC", comparable(text)).casefold():
        kind = unicodedata.category(character)
        if kind[0] == "M" and found:
            found[-1] += character
        elif kind[0] not in "LN":
            open_word = False
            if kind == "So":
                found.append(character)
        elif _alone(character):
            found.append(character)
            open_word = False
        elif open_word:
            found[-1] += character
        else:
            found.append(character)
            open_word = True
    return tuple(found)


def _alone(character: str) -> bool:
    code = ord(character)
    return code >= 0x0E00 and any(first <= code <= last for first, last in _UNSPACED)


def _grams(items: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(items[place : place + size]) for place in range(len(items) - size + 1))


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, a row of the table in one whole number.

    Source: Hyyrö, Bit-parallel LCS-length computation revisited (2004).
    """
    places: dict[str, int] = {}
    for place, item in enumerate(left):
        places[item] = places.get(item, 0) | 1 << place
    whole = (1 << len(left)) - 1
    row = whole
    for item in right:
        met = row & places.get(item, 0)
        row = ((row + met) | (row - met)) & whole
    return len(left) - row.bit_count()


@lru_cache(maxsize=4096)
def _orders(text: str, char_order: int, word_order: int) -> tuple[Counter[str], ...]:
    """Return the n-grams of `text`: of characters without white space, then of words."""
    solid = "".join(text.split())
    chars = [Counter(solid[place : place + n] for place in range(len(solid) - n + 1)) for n in range(1, char_order + 1)]
    split = [part for word in text.split() for part in _without_punctuation(word)]
    return (*chars, *(Counter(" ".join(gram) for gram in _grams(split, n)) for n in range(1, word_order + 1)))


def _without_punctuation(word: str) -> tuple[str, ...]:
    """Return a word and the punctuation mark at its end, else at its beginning, as sacrebleu parts them."""
    if len(word) > 1 and word[-1] in _PUNCTUATION:
        return word[:-1], word[-1]
    if len(word) > 1 and word[0] in _PUNCTUATION:
        return word[0], word[1:]
    return (word,)
