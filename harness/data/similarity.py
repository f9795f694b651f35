"""When two texts are nearly the same: a word-level similarity that knows a typo from another word.

Character n-gram Jaccard alone cannot tell "turn on the kitchen light" against "turn on the bedroom light" (two
requests) from a copy with a typo (one request): on short text both score about 0.6. So n-grams only find candidates
(candidates.py), and this measure decides.
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

# A word that differs by one letter costs this much; an inserted or missing word 1; another word 2 (one out, one in).
# So a copy with a typo in two words is 0.95 alike, and one word inserted into twelve leaves 0.92.
RESPELT_COST = 0.1

# Letters of scripts written without spaces: each is a word of its own, else a whole sentence would be one word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_APOSTROPHES = re.compile("['\u2018\u2019\u02bc`´]")
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_DASHES = re.compile("[\u2010-\u2015\u2212]")
# A sign stands between numbers or before one, a per cent after it; a hyphen within a word is punctuation.
_SIGN = r"(?<=[\d)])\s*[-*/^](?=\s*[\d(.])|(?<![\w)])-(?=\s?[\d.(])|(?<=\d)\s?%"
_PLAIN = re.compile(r"(?:[A-Za-z0-9\s.,;:!?\"'()]|(?<=[A-Za-z])-(?=[A-Za-z]))*")
_TOKENS = re.compile(rf"(?P<sign>{_SIGN})|(?P<word>{_WORDS.pattern})|(?P<bracket>[()\[\]{{}}])|(?P<other>\S)")
_SYMBOLS = frozenset(("Sm", "Sc", "So"))


@lru_cache(maxsize=1 << 14)
def words_of(text: str) -> tuple[str, ...]:
    """Return the words of `text` without case, punctuation, spacing and compatibility forms (NFKC).

    Text with no word in it, such as "+" or an emoji, is one word: itself.
    """
    plain = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return tuple(_WORDS.findall(plain)) or ((stripped,) if (stripped := plain.strip()) else ())


def normalised(text: str) -> str:
    """Return the words of `text` with one space between them; equal strings are the same text in other dress."""
    return " ".join(words_of(text))


@lru_cache(maxsize=1 << 14)
def same_text(text: str) -> str:
    """Return what two texts share if they differ in case, punctuation and spacing alone.

    Unlike `normalised` it keeps, in their order, what changes the meaning: symbols ("3 + 4", "a < b", an emoji), the
    signs of numbers that are punctuation elsewhere ("3 - 4", "3 * 4", "3 / 4", "-4", "5 %"), and beside these brackets.
    """
    if _PLAIN.fullmatch(text):  # a fifth of the time
        return normalised(text)
    tokens = _tokens(text)
    counts = any(kind in ("sign", "other") for kind, _ in tokens)
    return " ".join(token for kind, token in tokens if counts or kind != "bracket") or text.strip()


@lru_cache(maxsize=1 << 14)
def operators_of(text: str) -> tuple[str, ...]:
    """Return the signs of numbers and the mathematical symbols of `text`: with others it asks something else."""
    return tuple(
        token
        for kind, token in _tokens(text)
        if kind == "sign" or (kind == "other" and unicodedata.category(token) == "Sm")
    )


def _tokens(text: str) -> list[tuple[str, str]]:
    """Return (kind, token) of the words, signs, brackets and symbols of `text`."""
    plain = _UNSEEN.sub("", _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text))).casefold()
    found = ((str(match.lastgroup), match[0].strip()) for match in _TOKENS.finditer(_DASHES.sub("-", plain)))
    return [(kind, token) for kind, token in found if kind != "other" or unicodedata.category(token) in _SYMBOLS]


def similarity(first: Sequence[str], second: Sequence[str]) -> float:
    """Return how alike two word sequences are, from 0 to 1: 1 minus the cost of the edit over the longer length."""
    longer = max(len(first), len(second))
    if longer == 0:
        return 1.0
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    cost = sum(
        edit_cost(first[start:end], second[other_start:other_end])
        for kind, start, end, other_start, other_end in matcher.get_opcodes()
        if kind != "equal"
    )
    return max(0.0, 1.0 - cost / longer)


def best_window_similarity(text: Sequence[str], passage: Sequence[str]) -> float:
    """Return the similarity of `text` to the stretch of `passage` around their longest common run of words."""
    matcher = SequenceMatcher(None, text, passage, autojunk=False)
    run = matcher.find_longest_match()
    if run.size == 0:
        return 0.0
    start = max(0, run.b - run.a)
    end = min(len(passage), run.b - run.a + len(text))
    # An inserted or missing word shifts one end of the stretch, so its neighbours are tried as well.
    stretches = {(start + left, end + right) for left in (-1, 0, 1) for right in (-1, 0, 1)}
    return max(similarity(text, passage[max(0, left) : right]) for left, right in stretches if max(0, left) < right)


def edit_cost(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the cheapest way from one short word sequence to the other; words may also be joined or split."""
    previous: list[float] = []
    before_previous: list[float] = []
    for row in range(len(first) + 1):
        current = [float(row)]
        for column in range(1, len(second) + 1):
            if row == 0:
                current.append(float(column))
                continue
            word, other = first[row - 1], second[column - 1]
            options = [previous[column] + 1, current[column - 1] + 1, previous[column - 1] + _swap_cost(word, other)]
            if row >= 2 and is_respelling(f"{first[row - 2]} {word}", other):
                options.append(before_previous[column - 1] + RESPELT_COST)
            if column >= 2 and is_respelling(f"{second[column - 2]} {other}", word):
                options.append(previous[column - 2] + RESPELT_COST)
            current.append(min(options))
        before_previous, previous = previous, current
    return previous[-1]


def _swap_cost(word: str, other: str) -> float:
    if word == other:
        return 0.0
    return RESPELT_COST if is_respelling(word, other) else 2.0


def is_respelling(word: str, other: str) -> bool:
    """Return whether one letter was changed, added, dropped or swapped with its neighbour.

    A changed digit is another number, and a changed one-letter word another word ("vitamin A", "vitamin B").
    """
    if abs(len(word) - len(other)) > 1 or max(len(word), len(other)) < 2 or any(map(str.isdigit, word + other)):
        return False
    shorter, longer = sorted((word, other), key=len)
    at = next((place for place, letter in enumerate(shorter) if letter != longer[place]), len(shorter))
    if len(shorter) < len(longer):
        return shorter[at:] == longer[at + 1 :]
    swapped = shorter[at + 1 : at + 2] + shorter[at : at + 1]
    return shorter[at + 1 :] == longer[at + 1 :] or (
        longer[at : at + 2] == swapped and shorter[at + 2 :] == longer[at + 2 :]
    )
