"""Does the holdout measure what was learned, or what was copied? Equal, nearly equal and related samples across splits.

A pair is a leak when the texts are equal, or nearly equal (similarity.py) with the same reference: knowing the one
answers the other. Nearly equal text with another reference ("... 21 degrees", "... 22 degrees") is what templates and
classes look like, and is no leak; only for long texts it is worth a warning.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.data.candidates import candidates
from harness.data.corpus_leakage import corpus_check
from harness.data.similarity import normalised, similarity, words_of
from harness.samples import Check, Passage, Sample

# Measured on requests that people wrote (banking77, 3,080 test against 10,003 train, 77 classes). Copies with case or
# punctuation changed: all found; with one letter mistyped: 98.7 %; with one word inserted into 12 or more: all. Of the
# unchanged test set, 29 (0.9 %) are called near-duplicates, nearly all of them the train text in another spelling.
# At 0.90 that doubles to 1.8 %; at 0.93 a third of the inserted words are missed.
NEAR_DUPLICATE = 0.92

HOLDOUT_AT_LEAST = 30
TRAIN_AT_LEAST = 10
TRAIN_FOR_AN_EFFECT = 50

_SHOWN_LETTERS = 200
_SHOWN_ITEMS = 100
_LONG_TEXT_WORDS = 30

_SPLIT_PAIRS = (("holdout", "train"), ("holdout", "dev"), ("dev", "train"))

Pools = Mapping[str, Sequence[Sample]]
_Kind = Literal["exact", "normalised", "near", "near, other reference"]


def audit(
    pools: Pools,
    corpus: Sequence[Passage] = (),
    *,
    threshold: float = NEAR_DUPLICATE,
    corpus_is_lookup: bool = False,
) -> tuple[Check, ...]:
    """Return what is wrong with the splits, one Check a question, in a fixed order.

    pools: "train" (also the pool that few-shot examples come from), "dev", "holdout"; a missing one is empty.
    threshold: similarity (0 to 1) from which two texts are nearly the same.
    corpus_is_lookup: the passages are a reference book that production has too (a code book, a manual), so finding
    the input in it is the task and not a leak; passages made from holdout samples stay one.
    Whatever reaches the holdout is "invalid"; train against dev is a "warning".
    """
    twins = tuple(twin for pair in _SPLIT_PAIRS for twin in _twins(pools, *pair, threshold=threshold))
    checks = [
        _ids_check(pools),
        _twin_check("exact text across splits", twins, "exact", "the same text"),
        _twin_check("normalised text across splits", twins, "normalised", "the same text but for case and punctuation"),
        _twin_check("near-duplicate text across splits", twins, "near", "nearly the same text and the same reference"),
        _similar_check(twins),
        _groups_check(pools),
        _duplicates_check(pools),
        _conflicts_check(pools),
        _sizes_check(pools),
    ]
    if corpus:
        checks.insert(6, corpus_check(pools, corpus, threshold=threshold, is_lookup=corpus_is_lookup))
    return tuple(checks)


@dataclass(frozen=True, slots=True)
class _Twin:
    """A sample and the one it resembles most, in another pool."""

    kind: _Kind
    pool: str
    sample: Sample
    other_pool: str
    other: Sample
    similarity: float

    @property
    def item(self) -> dict[str, object]:
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


def _twins(pools: Pools, pool: str, other_pool: str, *, threshold: float) -> Iterator[_Twin]:
    """Yield at most one twin in `other_pool` for each sample of `pool`, the gravest kind first."""
    samples, others = pools.get(pool, ()), pools.get(other_pool, ())
    exact = {other.input: other for other in reversed(others)}
    plain = {normalised(other.input): other for other in reversed(others)}
    unmatched = []
    for sample in samples:
        if sample.input in exact:
            yield _Twin("exact", pool, sample, other_pool, exact[sample.input], 1.0)
        elif (text := normalised(sample.input)) in plain:
            yield _Twin("normalised", pool, sample, other_pool, plain[text], 1.0)
        else:
            unmatched.append(sample)
    for kind, place, other_place, alike in _near(unmatched, others, threshold):
        yield _Twin(kind, pool, unmatched[place], other_pool, others[other_place], alike)


def _near(
    samples: Sequence[Sample], others: Sequence[Sample], threshold: float
) -> Iterator[tuple[_Kind, int, int, float]]:
    """Yield (kind, sample, other, similarity) of the most alike pair of each sample, with the same reference if any."""
    best: dict[int, tuple[bool, float, int]] = {}
    texts = [normalised(other.input) for other in others]
    references = [normalised(other.reference) for other in others]
    for place, other_places in candidates([normalised(sample.input) for sample in samples], texts):
        words, reference = words_of(samples[place].input), normalised(samples[place].reference)
        for other_place in other_places:
            same_reference = references[other_place] == reference
            if not same_reference and len(words) < _LONG_TEXT_WORDS:
                continue
            alike = similarity(words, tuple(texts[other_place].split()))
            if alike >= threshold:
                best[place] = max(best.get(place, (False, 0.0, 0)), (same_reference, alike, other_place))
    for place, (same_reference, alike, other_place) in sorted(best.items()):
        yield "near" if same_reference else "near, other reference", place, other_place, alike


def _twin_check(name: str, twins: Iterable[_Twin], kind: _Kind, fact: str) -> Check:
    found = [twin for twin in twins if twin.kind == kind]
    return _leak_check(name, found, f"no sample has {fact} as one of another split", f"have {fact} as one of")


def _leak_check(name: str, found: Sequence[_Twin], clean: str, fact: str) -> Check:
    into_holdout = [twin for twin in found if twin.pool == "holdout"]
    if not found:
        return Check(name=name, status="ok", detail=clean)
    counts = ", ".join(
        f"{sum((twin.pool, twin.other_pool) == pair for twin in found):,} {pair[0]} samples {fact} {pair[1]}"
        for pair in _SPLIT_PAIRS
        if any((twin.pool, twin.other_pool) == pair for twin in found)
    )
    worst = found[0]
    return Check(
        name=name,
        status="invalid" if into_holdout else "warning",
        detail=f"{counts}; first {worst.sample.id} ({worst.pool}) and {worst.other.id} ({worst.other_pool})",
        items=tuple(twin.item for twin in found[:_SHOWN_ITEMS]),
    )


def _similar_check(twins: Iterable[_Twin]) -> Check:
    """Long texts that share nearly every word but not the reference: one document asked twice, or two summaries."""
    name = "near-duplicate text with another reference"
    found = [twin for twin in twins if twin.kind == "near, other reference"]
    if not found:
        return Check(name=name, status="ok", detail=f"none among texts of {_LONG_TEXT_WORDS} words or more")
    return Check(
        name=name,
        status="warning",
        detail=f"{len(found):,} long texts share nearly every word with one of another split, but not the reference; "
        "if they come from one document, give it as the group",
        items=tuple(twin.item for twin in found[:_SHOWN_ITEMS]),
    )


def _ids_check(pools: Pools) -> Check:
    ids = {pool: {sample.id for sample in pools.get(pool, ())} for pool in ("holdout", "dev", "train")}
    items = [
        {"id": shared, "pool": pool, "other_pool": other}
        for pool, other in _SPLIT_PAIRS
        for shared in sorted(ids[pool] & ids[other])
    ]
    return _shared_check("sample ids across splits", items, "sample ids", "id")


def _groups_check(pools: Pools) -> Check:
    groups = {
        pool: {sample.group for sample in pools.get(pool, ()) if sample.group is not None}
        for pool in ("holdout", "dev", "train")
    }
    items = [
        {"group": shared, "pool": pool, "other_pool": other}
        for pool, other in _SPLIT_PAIRS
        for shared in sorted(groups[pool] & groups[other])
    ]
    if not any(groups.values()):
        return Check(name="groups across splits", status="ok", detail="no sample names a group")
    return _shared_check("groups across splits", items, "groups", "group")


def _shared_check(name: str, items: Sequence[Mapping[str, str]], noun: str, key: str) -> Check:
    if not items:
        return Check(name=name, status="ok", detail=f"no {noun} shared by two splits")
    counts = ", ".join(
        f"{count:,} {noun} of {pool} are also in {other}"
        for pool, other in _SPLIT_PAIRS
        if (count := sum((item["pool"], item["other_pool"]) == (pool, other) for item in items))
    )
    invalid = any(item["pool"] == "holdout" for item in items)
    return Check(
        name=name,
        status="invalid" if invalid else "warning",
        detail=f"{counts}; first {items[0][key]!r}",
        items=tuple(dict(item) for item in items[:_SHOWN_ITEMS]),
    )


def _duplicates_check(pools: Pools) -> Check:
    items: list[dict[str, object]] = []
    counts = []
    for pool in ("train", "dev", "holdout"):
        seen: dict[str, list[Sample]] = defaultdict(list)
        for sample in pools.get(pool, ()):
            seen[normalised(sample.input)].append(sample)
        repeated = [group for group in seen.values() if len(group) > 1]
        if repeated:
            counts.append(f"{sum(len(group) - 1 for group in repeated):,} in {pool}")
        items += [
            {"pool": pool, "ids": [sample.id for sample in group][:10], "text": shown(group[0].input)}
            for group in repeated
        ]
    name = "duplicates inside a split"
    if not items:
        return Check(name=name, status="ok", detail="no text appears twice in a split")
    detail = f"repeated texts: {', '.join(counts)}; repeats in the holdout count twice in every mean"
    return Check(name=name, status="warning", detail=detail, items=tuple(items[:_SHOWN_ITEMS]))


def _conflicts_check(pools: Pools) -> Check:
    references: dict[str, dict[str, tuple[str, Sample]]] = defaultdict(dict)
    for pool in ("train", "dev", "holdout"):
        for sample in pools.get(pool, ()):
            references[normalised(sample.input)].setdefault(sample.reference.strip(), (pool, sample))
    conflicts = [tuple(found.values()) for found in references.values() if len(found) > 1]
    name = "conflicting references"
    if not conflicts:
        return Check(name=name, status="ok", detail="equal inputs have equal references")
    items = tuple(
        {
            "text": shown(found[0][1].input),
            "references": [
                {"pool": pool, "id": sample.id, "reference": shown(sample.reference)} for pool, sample in found[:10]
            ],
        }
        for found in conflicts[:_SHOWN_ITEMS]
    )
    detail = f"{len(conflicts):,} inputs have more than one reference, so no answer can be right for all of them"
    return Check(name=name, status="warning", detail=detail, items=items)


def _sizes_check(pools: Pools) -> Check:
    train, dev, holdout = (len(pools.get(pool, ())) for pool in ("train", "dev", "holdout"))
    advice = []
    if holdout < HOLDOUT_AT_LEAST:
        advice.append(f"fewer than {HOLDOUT_AT_LEAST} holdout samples can tell only a very large gain from luck")
    if dev == 0:
        advice.append("without dev samples nothing can be chosen before the holdout is opened")
    if train < TRAIN_AT_LEAST:
        advice.append(
            f"tuning on fewer than {TRAIN_AT_LEAST} train samples seldom helps; "
            f"an effect usually shows from {TRAIN_FOR_AN_EFFECT} to 100"
        )
    detail = "; ".join([f"{train:,} train, {dev:,} dev, {holdout:,} holdout samples", *advice])
    return Check(name="sizes", status="warning" if advice else "ok", detail=detail)
