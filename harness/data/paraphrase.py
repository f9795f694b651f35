"""When two texts ask the same thing in slightly other words: politeness, small words, contractions, word order.

The word-level similarity (similarity.py) makes every inserted or changed word dear, which is right for "kitchen"
and "bedroom" and wrong for "the" and "my". Here words that carry the question are told from words that dress it.
"""

from collections import Counter
from collections.abc import Sequence

from harness.data.similarity import RESPELT_COST, is_respelling, similarity

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
    """Return the words of a core that carry the question; all of them where none does."""
    return tuple(word for word in core if word not in LIGHT) or tuple(core)


def paraphrase_similarity(first: Sequence[str], second: Sequence[str]) -> float:
    """Return how alike two cores are, from 0 to 1: in their own order, or as bags of words, whichever is more."""
    return max(similarity(first, second), _bag_similarity(first, second))


def numbers_of(core: Sequence[str]) -> Counter[str]:
    """Return the words of a core that hold a digit, each with how often it comes."""
    return Counter(word for word in core if any(map(str.isdigit, word)))


def bound_of_similarity(first: Counter[str], second: Counter[str], *, longer: int) -> float:
    """Return what `paraphrase_similarity` cannot exceed, at a small part of its cost.

    first, second: the numbers of two cores. longer: words of the longer one. A word with a digit is never a respelling
    of another, so each that only one of the two holds costs 1 in either way of comparing.
    """
    if first == second or longer == 0:
        return 1.0
    apart = (first - second).total() + (second - first).total()
    return max(0.0, 1.0 - apart / longer)


def _bag_similarity(first: Sequence[str], second: Sequence[str]) -> float:
    """Return 1 minus the cost over the longer length; what word stands where costs ORDER_COST at most."""
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
