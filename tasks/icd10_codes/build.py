"""The tabular list -> the code book, and questions in other words than the book's."""

import random
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.types.samples import Split
from tasks.stored_rows import Row

TABULAR_FILE = Path("data", "icd10c-tabular-April-1-2026.xml")
# Infections, the respiratory and the digestive system: rich in other wordings, and small enough to index at once.
CHAPTERS = ("1", "10", "11")
QUESTIONS = {Split.DEV: 64, Split.HOLDOUT: 208}
# A question this alike to any text of the book (Jaccard of character 4-grams) asks nothing: it is left out.
MOST_ALIKE = 0.6

Grams = frozenset[str]


@dataclass(frozen=True)
class Code:
    """One code that has no finer code below it. terms: other wordings that the list files under it."""

    code: str
    description: str
    terms: tuple[str, ...]


def build_rows(package: Path) -> Iterator[Row]:
    """Yield rows of kind "book" (code, text) and of kind train, dev, holdout (code, text, group).

    Train holds the whole book, in an order drawn once, then the wordings that no other split asks for.
    """
    codes = [code for code in read_codes(package / TABULAR_FILE) if code.terms]
    for code in codes:
        yield {"kind": "book", "code": code.code, "text": code.description}
    random.Random("book").shuffle(codes)  # noqa: S311
    for code in codes:
        yield {"kind": Split.TRAIN.value, "code": code.code, "text": code.description, "group": f"book {code.code}"}
    for split, questions in _ask(codes).items():
        for code, term in questions:
            yield {"kind": split.value, "code": code.code, "text": term, "group": f"wordings of {code.code}"}


def read_codes(path: Path) -> Iterator[Code]:
    """Yield the finest codes of CHAPTERS with their descriptions, in the order of the list; the first of equals."""
    seen: set[str] = set()
    for chapter in ElementTree.parse(path).getroot().iter("chapter"):  # noqa: S314 (an installed package's file)
        if chapter.findtext("name") not in CHAPTERS:
            continue
        for entry in chapter.iter("diag"):
            description = _words(entry.findtext("desc"))
            if entry.find("diag") is None and normal(description) not in seen:
                seen.add(normal(description))
                yield Code(
                    code=_words(entry.findtext("name")),
                    description=description,
                    terms=tuple(_words(note.text) for note in entry.iterfind("inclusionTerm/note")),
                )


def _ask(codes: list[Code]) -> dict[Split, list[tuple[Code, str]]]:
    """Return one question a code for DEV and HOLDOUT, and the remaining wordings of yet other codes for TRAIN."""
    index = TextIndex([code.description for code in codes])
    counts = Counter(normal(term) for code in codes for term in code.terms)
    usable = [
        (code, [term for term in code.terms if counts[normal(term)] == 1 and index.most_alike(term) <= MOST_ALIKE])
        for code in codes
    ]
    pool = [(code, terms) for code, terms in usable if terms]
    random.Random("wordings").shuffle(pool)  # noqa: S311
    asked: dict[Split, list[tuple[Code, str]]] = {split: [] for split in Split}
    others = TextIndex([])
    for code, terms in pool:
        split = next((s for s in (Split.HOLDOUT, Split.DEV) if len(asked[s]) < QUESTIONS[s]), Split.TRAIN)
        # Wordings of neighbouring codes differ in a word ("with bleeding"): one such family stays in one place.
        fresh = [term for term in terms if others.most_alike(term) <= MOST_ALIKE]
        for term in fresh if split is Split.TRAIN else fresh[:1]:
            asked[split].append((code, term))
            others.add(term)
    return asked


class TextIndex:
    """Texts by their character 4-grams, to ask for the most alike without comparing all pairs."""

    def __init__(self, texts: list[str]) -> None:
        self._sizes: list[int] = []
        self._places: dict[str, list[int]] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        grams = _grams(text)
        for gram in grams:
            self._places.setdefault(gram, []).append(len(self._sizes))
        self._sizes.append(len(grams))

    def most_alike(self, text: str) -> float:
        """Return the highest Jaccard similarity to any text, 0 where there is none."""
        own = _grams(text)
        shared = Counter(place for gram in own for place in self._places.get(gram, ()))
        return max((hits / (len(own) + self._sizes[place] - hits) for place, hits in shared.items()), default=0.0)


def normal(text: str) -> str:
    """Return the words alone: case and punctuation make no other question."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _grams(text: str) -> Grams:
    plain = f" {normal(text)} "
    return frozenset(plain[place : place + 4] for place in range(max(len(plain) - 3, 1)))


def _words(text: str | None) -> str:
    return " ".join((text or "").split())
