"""Which of many texts share enough letters with one text to be worth a careful look.

Exact counts of shared character 4-grams through an inverted index, so no pair is missed by chance as with MinHash.
Grams are hashed to 40 bits; a collision can only add a candidate, and every candidate is checked on its words.

Samples of one split that are equal, or nearly equal, to one of another: found here, judged in leakage.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.data.text_similarity import (
    bound_of_similarity,
    content_of,
    core_of,
    normalised,
    numbers_of,
    operators_of,
    paraphrase_similarity,
    same_text,
    words_of,
)
from harness.types.samples import Sample

GRAM_LETTERS = 4

# One index holds about this many letters, so that a corpus of any size needs about 300 MB at most.
_LETTERS_PER_INDEX = 8_000_000

_GRAM_BITS = 40

_IntArray = NDArray[np.int64]


def candidates(
    queries: Sequence[str], texts: Sequence[str], *, inside: bool = False
) -> Iterator[tuple[int, list[int]]]:
    """Yield (position in `queries`, positions in `texts`) of the pairs that share enough grams; one query may recur.

    Enough is what is left of a query of n grams after one typo and another in every 25 letters, each of which breaks
    up to GRAM_LETTERS + 1 grams.

    Args:
        queries: Texts that are looked for.
        texts: Texts in which they are looked for.
        inside: The query may also be a part of the text.
    """
    query_grams = [_distinct_grams(query) for query in queries]
    if not query_grams:
        return
    wanted = _distinct(np.concatenate(query_grams))
    for first, chunk in _chunks(texts):
        index = _Index.of(chunk, wanted)
        for query, grams in enumerate(query_grams):
            size = len(grams)
            broken = min(size - 1, (GRAM_LETTERS + 1) * (1 + size / 25))
            shared = index.shared(np.searchsorted(wanted, grams))  # (texts of the chunk,)
            enough = shared * (size + broken) >= (size - broken) * (index.sizes + size - shared)
            if inside:
                enough |= shared >= size - broken
            places = np.flatnonzero(enough & (shared > 0))
            if len(places):
                yield query, (places + first).tolist()


@dataclass(frozen=True, slots=True)
class _Index:
    """For each wanted gram, the texts that hold it: `holders[starts[gram] : starts[gram + 1]]`."""

    sizes: _IntArray  # (texts,), distinct grams of each
    starts: _IntArray  # (wanted + 1,)
    holders: _IntArray

    @classmethod
    def of(cls, texts: Sequence[str], wanted: _IntArray) -> "_Index":
        grams, owners = _grams(texts)
        packed = _distinct(owners << _GRAM_BITS | grams)
        grams, owners = packed & ((1 << _GRAM_BITS) - 1), packed >> _GRAM_BITS
        sizes = np.bincount(owners, minlength=len(texts))
        places = np.minimum(np.searchsorted(wanted, grams), max(0, len(wanted) - 1))
        known = wanted[places] == grams if len(wanted) else np.zeros(len(grams), bool)
        places, owners = places[known], owners[known]
        by_gram = np.argsort(places, kind="stable")
        starts = np.concatenate(([0], np.cumsum(np.bincount(places, minlength=len(wanted)))))
        return cls(sizes, starts, owners[by_gram])

    def shared(self, grams: _IntArray) -> _IntArray:
        """Return how many of `grams` (positions in `wanted`) each text holds."""
        runs = [self.holders[self.starts[gram] : self.starts[gram + 1]] for gram in grams.tolist()]
        return np.bincount(np.concatenate(runs), minlength=len(self.sizes)) if runs else np.zeros_like(self.sizes)


def _distinct_grams(text: str) -> _IntArray:
    return _distinct(_grams([text])[0])


def _distinct(values: _IntArray) -> _IntArray:
    # np.unique builds a hash table, which took 14 s for the 6 million grams of 98,000 passages; sorting takes 0.5 s.
    ordered = np.sort(values)
    fresh = np.ones(len(ordered), bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return ordered[fresh]


def _grams(texts: Sequence[str]) -> tuple[_IntArray, _IntArray]:
    """Return the hash of every gram and the position of the text that owns it.

    Each text is closed by spaces, so that a text shorter than a gram has one too; no gram crosses two texts.
    """
    padding = " " * (GRAM_LETTERS - 1)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    joined = "".join(f"{text}{padding}" for text in texts) + padding
    letters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    hashes = np.zeros(len(letters) - GRAM_LETTERS + 1, dtype=np.uint64)
    for place in range(GRAM_LETTERS):
        hashes = (hashes + letters[place : place + len(hashes)]) * np.uint64(0x9E3779B97F4A7C15)
    grams = (hashes >> np.uint64(64 - _GRAM_BITS)).astype(np.int64)
    starts = np.cumsum(lengths + len(padding)) - (lengths + len(padding))
    counts = np.where(lengths > 0, np.maximum(1, lengths - GRAM_LETTERS + 1), 0)
    owners = np.repeat(np.arange(len(texts)), counts)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    return grams[np.repeat(starts, counts) + within], owners


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield (position of the first text, texts) of about `_LETTERS_PER_INDEX` letters."""
    first, letters = 0, 0
    for place, text in enumerate(texts):
        letters += len(text)
        if letters >= _LETTERS_PER_INDEX:
            yield first, texts[first : place + 1]
            first, letters = place + 1, 0
    if first < len(texts):
        yield first, texts[first:]


# Of shorter texts another reference makes another question, however alike they are.
LONG_TEXT_WORDS = 30

_SHOWN_LETTERS = 200

Pools = Mapping[str, Sequence[Sample]]
Kind = Literal["exact", "normalised", "near", "near, other reference", "same id or group"]


@dataclass(frozen=True, slots=True)
class Twin:
    """A sample and the one it resembles most, in another pool."""

    kind: Kind
    pool: str
    sample: Sample
    other_pool: str
    other: Sample
    similarity: float

    def item(self, *, texts: bool) -> dict[str, object]:
        """Return the pair as a check lists it, with its texts or with ids alone."""
        if not texts:
            return {
                "pool": self.pool,
                "id": self.sample.id,
                "other_pool": self.other_pool,
                "other_id": self.other.id,
            }
        return {
            "pool": self.pool,
            "id": self.sample.id,
            "text": short_text(self.sample.input),
            "other_pool": self.other_pool,
            "other_id": self.other.id,
            "other_text": short_text(self.other.input),
            "similarity": round(self.similarity, 3),
        }


def short_text(text: str) -> str:
    """Return `text` cut to what a table cell holds."""
    return text if len(text) <= _SHOWN_LETTERS else f"{text[: _SHOWN_LETTERS - 1]}…"


def twins(pools: Pools, pool: str, other_pool: str, *, threshold: float) -> Iterator[Twin]:
    """Yield at most one twin in `other_pool` for each sample of `pool`, the gravest kind first."""
    samples, others = pools.get(pool, ()), pools.get(other_pool, ())
    exact = {other.input: other for other in reversed(others)}
    plain = {same_text(other.input): other for other in reversed(others)}
    unmatched = []
    for sample in samples:
        if sample.input in exact:
            yield Twin("exact", pool, sample, other_pool, exact[sample.input], 1.0)
        elif (text := same_text(sample.input)) in plain:
            yield Twin("normalised", pool, sample, other_pool, plain[text], 1.0)
        else:
            unmatched.append(sample)
    for kind, place, other_place, alike in _near(unmatched, others, threshold):
        yield Twin(kind, pool, unmatched[place], other_pool, others[other_place], alike)


def _near(
    samples: Sequence[Sample], others: Sequence[Sample], threshold: float
) -> Iterator[tuple[Kind, int, int, float]]:
    """Yield (kind, sample, other, similarity) of the most alike pair of each sample, with the same reference if any."""
    best: dict[int, tuple[bool, float, int]] = {}
    cores = [core_of(words_of(sample.input)) for sample in samples]
    other_cores = [core_of(words_of(other.input)) for other in others]
    references = [normalised(other.reference) for other in others]
    numbers, other_numbers = ([numbers_of(core) for core in found] for found in (cores, other_cores))
    contents, other_contents = ([" ".join(content_of(core)) for core in found] for found in (cores, other_cores))
    for place, other_places in candidates(contents, other_contents):
        words, reference = cores[place], normalised(samples[place].reference)
        for other_place in other_places:
            same_reference = references[other_place] == reference
            if not same_reference and len(words) < LONG_TEXT_WORDS:
                continue
            longer = max(len(words), len(other_cores[other_place]))
            if bound_of_similarity(numbers[place], other_numbers[other_place], longer=longer) < threshold:
                continue
            if operators_of(samples[place].input) != operators_of(others[other_place].input):
                continue
            alike = paraphrase_similarity(words, other_cores[other_place])
            if alike >= threshold:
                best[place] = max(best.get(place, (False, 0.0, 0)), (same_reference, alike, other_place))
    for place, (same_reference, alike, other_place) in sorted(best.items()):
        yield "near" if same_reference else "near, other reference", place, other_place, alike
