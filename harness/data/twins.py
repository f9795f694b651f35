"""Samples of one split that are equal, or nearly equal, to one of another: found here, judged in leakage.py."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.data.candidates import candidates
from harness.data.paraphrase import bound_of_similarity, content_of, core_of, numbers_of, paraphrase_similarity
from harness.data.similarity import normalised, operators_of, same_text, words_of
from harness.samples import Sample

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
            "text": shown(self.sample.input),
            "other_pool": self.other_pool,
            "other_id": self.other.id,
            "other_text": shown(self.other.input),
            "similarity": round(self.similarity, 3),
        }


def shown(text: str) -> str:
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
