"""Does the retrieval corpus hold the holdout? Passages made from, grouped with, or repeating holdout samples."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.data.leakage.near_duplicates import candidates
from harness.data.text_similarity import best_window_similarity, normalised, similarity
from harness.types.samples import Check, Passage, Sample

# A shorter input inside a longer passage is a phrase ("type 2 diabetes mellitus"), not a copied sample; fewer words
# do if the passage holds the reference too.
CONTAINED_WORDS = 8
CONTAINED_WORDS_WITH_REFERENCE = 4

CORPUS_CHECK = "holdout in the retrieval corpus"

_SHOWN_LETTERS = 200
# Finds whose texts are kept; of the others the ids.
_SHOWN_ITEMS = 100


@dataclass(frozen=True, slots=True)
class _Find:
    why: str
    passage: Passage
    sample: Sample
    similarity: float | None = None

    def item(self, *, texts: bool) -> dict[str, object]:
        if not texts:
            return {"passage": self.passage.id, "pool": "holdout", "id": self.sample.id, "why": self.why}
        return {
            "passage": self.passage.id,
            "passage_text": self.passage.text[:_SHOWN_LETTERS],
            "pool": "holdout",
            "id": self.sample.id,
            "text": self.sample.input[:_SHOWN_LETTERS],
            "why": self.why,
            "similarity": None if self.similarity is None else round(self.similarity, 3),
        }


def corpus_check(
    pools: Mapping[str, Sequence[Sample]], corpus: Sequence[Passage], *, threshold: float, is_lookup: bool
) -> Check:
    """Return whether retrieval could hand a holdout answer to the model.

    A passage's text counts when it is the input, holds an input of CONTAINED_WORDS words or more, or holds the
    reference and the input or nearly the input. The text of a passage made from a train or dev sample is left to the
    check of those samples.
    """
    holdout = pools.get("holdout", ())
    made_from = list(_by_origin(holdout, corpus))
    reported = {find.passage.id for find in made_from}
    compared_elsewhere = {sample.id for pool in ("train", "dev") for sample in pools.get(pool, ())}
    texts = [
        passage
        for passage in corpus
        if passage.id not in reported and (passage.sample_id is None or passage.sample_id not in compared_elsewhere)
    ]
    copies = list(_by_text(holdout, texts, threshold))
    return _verdict(made_from, copies, size=len(corpus), is_lookup=is_lookup)


def _verdict(made_from: Sequence[_Find], copies: Sequence[_Find], *, size: int, is_lookup: bool) -> Check:
    held = len({find.sample.id for find in copies})
    if is_lookup and not made_from:
        detail = f"none of {size:,} passages is made from the holdout; as a reference book it holds {held:,} inputs"
        return Check(name=CORPUS_CHECK, status="ok", detail=detail)
    finds = [*made_from, *(() if is_lookup else copies)]
    if not finds:
        return Check(
            name=CORPUS_CHECK, status="ok", detail=f"none of {size:,} passages is, holds or was made from a sample"
        )
    origins = len({find.passage.id for find in made_from})
    facts = [
        f"{origins:,} passages are made from or grouped with holdout samples" if made_from else "",
        f"{held:,} holdout inputs stand in {len(copies):,} passages" if copies and not is_lookup else "",
    ]
    remedy = "take these passages out, or the samples; a reference book that production has too may be declared as one"
    return Check(
        name=CORPUS_CHECK,
        status="invalid",
        detail=f"{' and '.join(filter(None, facts))}; first passage {finds[0].passage.id}; {remedy}",
        items=tuple(find.item(texts=place < _SHOWN_ITEMS) for place, find in enumerate(finds)),
    )


def _by_origin(holdout: Sequence[Sample], corpus: Sequence[Passage]) -> Iterator[_Find]:
    samples = {sample.id: sample for sample in holdout}
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in holdout:
        if sample.group is not None:
            groups[sample.group].append(sample)
    for passage in corpus:
        if passage.sample_id is not None and passage.sample_id in samples:
            yield _Find("made from the sample", passage, samples[passage.sample_id])
        elif passage.group is not None and passage.group in groups:
            yield from (_Find(f"group {passage.group!r}", passage, sample) for sample in groups[passage.group])


def _by_text(holdout: Sequence[Sample], passages: Sequence[Passage], threshold: float) -> Iterator[_Find]:
    texts = [normalised(passage.text) for passage in passages]
    inputs = [normalised(sample.input) for sample in holdout]
    references = [f" {normalised(sample.reference)} " for sample in holdout]
    for query, places in candidates(inputs, texts, inside=True):
        for place in places:
            asked = _Asked(holdout[query], inputs[query], references[query])
            find = _compared(passages[place], texts[place], asked, threshold)
            if find:
                yield find


@dataclass(frozen=True, slots=True)
class _Asked:
    """A holdout sample with its input and its reference, normalised."""

    sample: Sample
    wanted: str
    reference: str


def _compared(passage: Passage, text: str, asked: _Asked, threshold: float) -> _Find | None:
    sample, wanted, reference = asked.sample, asked.wanted, asked.reference
    if text == wanted:
        return _Find("the same text", passage, sample, 1.0)
    words = tuple(wanted.split())
    has_reference = reference in f" {text} "
    enough = CONTAINED_WORDS_WITH_REFERENCE if has_reference else CONTAINED_WORDS
    if len(words) >= enough and f" {wanted} " in f" {text} ":
        return _Find("holds the text", passage, sample, 1.0)
    if not has_reference:
        return None
    alike = _near(words, text, threshold)
    return _Find("nearly the same text, with the reference", passage, sample, alike) if alike >= threshold else None


def _near(words: Sequence[str], text: str, threshold: float) -> float:
    passage = tuple(text.split())
    whole = similarity(words, passage)
    if whole >= threshold or len(words) < CONTAINED_WORDS:
        return whole
    return best_window_similarity(words, passage)
