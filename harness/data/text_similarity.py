"""When two texts are nearly the same: a word-level similarity that knows a typo from another word.

Character n-gram Jaccard alone cannot tell "turn on the kitchen light" against "turn on the bedroom light" (two
requests) from a copy with a typo (one request): on short text both score about 0.6. So n-grams only find candidates
(candidates.py), and this measure decides.

When two texts ask the same thing in slightly other words: politeness, small words, contractions, word order.

The word-level similarity (similarity.py) makes every inserted or changed word dear, which is right for "kitchen"
and "bedroom" and wrong for "the" and "my". Here words that carry the question are told from words that dress it.
"""

import re
import unicodedata
from collections import Counter
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


# A word that dresses the question ("a" for "the", "could" for "can") costs this much. Three such edits in ten words
# leave 0.94.
LIGHT_COST = 0.2
# The same words in another order, however many moved: "My card is blocked, what now?", "What now? My card is blocked".
ORDER_COST = 0.45


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Left out before anything is compared. None of them changes what is asked.
FILLERS = _words("please pls plz kindly hi hello hey dear thanks thank thx um oh ok okay 请 吗 呢 吧 啊 呀 嘛 哦")
# Never "not", "no", "to", "from", "on", "off" or a question word: those are what is asked.
LIGHT = _words(
    """a an the this that these those my your our his her its their i me you we us it they he she him them
    am is are was were be been being do does did have has had can could will would shall should may might must
    just really actually also still now very so too quite simply currently already even there here s d
    的 了 地 得 我 你 您 下 这 那 就"""
)

# As they stand when the apostrophe is gone. "ill", "well" and "were" are words of their own and left alone.
_NEGATED = _words("is are was were do does did has have had could would should must need")
_CONTRACTIONS: dict[str, tuple[str, ...]] = {
    **{f"{verb}nt": (verb, "not") for verb in _NEGATED},
    **{f"{one}re": (one, "are") for one in ("you", "they")},
    **{f"{one}ve": (one, "have") for one in ("i", "you", "we", "they")},
    **{f"{one}ll": (one, "will") for one in ("you", "they", "it", "there", "who")},
    **{f"{one}s": (one, "is") for one in ("what", "that", "how", "where", "who", "there")},
    "cannot": ("can", "not"),
    "cant": ("can", "not"),
    "wont": ("will", "not"),
    "im": ("i", "am"),
}
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED)}


def core_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return `words` (as similarity.words_of gives them) with contractions and number words written out, no fillers.

    Words that are nothing but fillers stay as they are.
    """
    plain = (part for word in words for part in _CONTRACTIONS.get(word, (word,)))
    kept = tuple(_NUMBERS.get(word, word) for word in plain if word not in FILLERS)
    return kept or tuple(words)


def content_of(core: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a core that carry the question; all of them if none does."""
    return tuple(word for word in core if word not in LIGHT) or tuple(core)


def paraphrase_similarity(first: Sequence[str], second: Sequence[str]) -> float:
    """Return how alike two cores are, from 0 to 1: in their own order, or as bags of words, whichever is more."""
    return max(similarity(first, second), _bag_similarity(first, second))


def numbers_of(core: Sequence[str]) -> Counter[str]:
    """Return the words of a core that hold a digit, each with how often it comes."""
    return Counter(word for word in core if any(map(str.isdigit, word)))


def bound_of_similarity(first: Counter[str], second: Counter[str], *, longer: int) -> float:
    """Return what `paraphrase_similarity` cannot exceed, at a small part of its cost.

    A word with a digit is never a respelling of another, so each that only one of the two holds costs 1 in either way
    of comparing.

    Args:
        first: The words with a digit of one core, counted.
        second: Those of the other.
        longer: Words of the longer one.
    """
    if first == second or longer == 0:
        return 1.0
    apart = (first - second).total() + (second - first).total()
    return max(0.0, 1.0 - apart / longer)


def _bag_similarity(first: Sequence[str], second: Sequence[str]) -> float:
    """Return 1 minus the cost over the longer length; which word stands where costs ORDER_COST at most."""
    longer = max(len(first), len(second))
    if longer == 0:
        return 1.0
    gone, come = Counter(first) - Counter(second), Counter(second) - Counter(first)
    light = max(sum(gone[word] for word in gone if word in LIGHT), sum(come[word] for word in come if word in LIGHT))
    lost = [word for word in gone.elements() if word not in LIGHT]
    new = [word for word in come.elements() if word not in LIGHT]
    respelt = _pair_off(lost, new)
    cost = LIGHT_COST * light + RESPELT_COST * respelt + len(lost) + len(new)
    if _common(first, second) != _common(second, first):
        cost += ORDER_COST
    return max(0.0, 1.0 - cost / longer)


def _pair_off(lost: list[str], new: list[str]) -> int:
    """Take respellings of each other out of both lists; return how many there were."""
    pairs = 0
    for word in list(lost):
        other = next((other for other in new if is_respelling(word, other)), None)
        if other is not None:
            lost.remove(word)
            new.remove(other)
            pairs += 1
    return pairs


def _common(words: Sequence[str], others: Sequence[str]) -> list[str]:
    shared = set(others)
    return [word for word in words if word in shared and word not in LIGHT]
