"""Does the holdout measure what was learned, or what was copied? Equal, nearly equal and related samples across splits.

A pair is a leak when the texts are equal, or nearly equal (paraphrase.py) with the same reference: knowing the one
answers the other. Nearly equal text with another reference ("... 21 degrees", "... 22 degrees") is what templates and
classes look like, and is no leak; only for long texts it is worth a warning.

What is inside the splits: repeated texts, references that contradict each other, sizes.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.data.leakage.corpus import CORPUS_CHECK, corpus_check
from harness.data.leakage.near_duplicates import LONG_TEXT_WORDS, Kind, Pools, Twin, short_text, twins
from harness.data.text_similarity import same_text
from harness.types.samples import Check, Passage, Sample

HOLDOUT_AT_LEAST = 30
TRAIN_AT_LEAST = 10
TRAIN_FOR_AN_EFFECT = 50

_SHOWN_ROWS = 100
# Names of the checks.
DUPLICATES, CONFLICTS, SIZES = "duplicates inside a split", "conflicting references", "sizes"


def duplicates_check(pools: Pools) -> Check:
    """Return whether a text appears twice in one split."""
    items: list[dict[str, object]] = []
    counts = []
    for pool in ("train", "dev", "holdout"):
        seen: dict[str, list[Sample]] = defaultdict(list)
        for sample in pools.get(pool, ()):
            seen[same_text(sample.input)].append(sample)
        repeated = [group for group in seen.values() if len(group) > 1]
        if repeated:
            counts.append(f"{sum(len(group) - 1 for group in repeated):,} in {pool}")
        items += [
            {"pool": pool, "ids": [sample.id for sample in group][:10], "text": short_text(group[0].input)}
            for group in repeated
        ]
    if not items:
        return Check(name=DUPLICATES, status="ok", detail="no text appears twice in a split")
    detail = f"repeated texts: {', '.join(counts)}"
    if any(item["pool"] == "holdout" for item in items):
        holdout = pools["holdout"]
        detail += (
            f"; the {len(holdout):,} holdout samples are {_distinct(holdout):,} inputs, and equal inputs are one "
            "cluster in every interval and test"
        )
    return Check(name=DUPLICATES, status="warning", detail=detail, items=tuple(items[:_SHOWN_ROWS]))


def conflicts_check(pools: Pools) -> Check:
    """Return whether equal inputs have more than one reference, in one split or in several."""
    references: dict[str, dict[str, tuple[str, Sample]]] = defaultdict(dict)
    for pool in ("train", "dev", "holdout"):
        for sample in pools.get(pool, ()):
            references[same_text(sample.input)].setdefault(sample.reference.strip(), (pool, sample))
    conflicts = [tuple(found.values()) for found in references.values() if len(found) > 1]
    if not conflicts:
        return Check(name=CONFLICTS, status="ok", detail="equal inputs have equal references")
    items = tuple(
        {
            "text": short_text(found[0][1].input),
            "references": [
                {"pool": pool, "id": sample.id, "reference": short_text(sample.reference)}
                for pool, sample in found[:10]
            ],
        }
        for found in conflicts[:_SHOWN_ROWS]
    )
    detail = f"{len(conflicts):,} inputs have more than one reference, so no answer can be right for all of them"
    return Check(name=CONFLICTS, status="warning", detail=detail, items=items)


def _distinct(samples: Sequence[Sample]) -> int:
    return len({same_text(sample.input) for sample in samples})


def sizes_check(pools: Pools) -> Check:
    """Return whether there are samples enough to tune on, to choose by and to judge on."""
    train, dev, holdout = (len(pools.get(pool, ())) for pool in ("train", "dev", "holdout"))
    advice = []
    inputs = _distinct(pools.get("holdout", ()))
    if inputs < HOLDOUT_AT_LEAST:
        what = "samples" if inputs == holdout else f"inputs ({inputs:,} in {holdout:,} samples)"
        advice.append(f"fewer than {HOLDOUT_AT_LEAST} holdout {what} can tell only a very large gain from luck")
    if dev == 0:
        advice.append("without dev samples nothing can be chosen before the holdout is opened")
    if train < TRAIN_AT_LEAST:
        advice.append(
            f"tuning on fewer than {TRAIN_AT_LEAST} train samples seldom helps; "
            f"an effect usually shows from {TRAIN_FOR_AN_EFFECT} to 100"
        )
    detail = "; ".join([f"{train:,} train, {dev:,} dev, {holdout:,} holdout samples", *advice])
    return Check(name=SIZES, status="warning" if advice else "ok", detail=detail)


# Measured on requests that people wrote (banking77, 3,080 test against 10,003 train, 77 classes) and on 1,000 questions
# of OpenBookQA. Edited copies found, the lower of the two: case and punctuation 99.6 %, one letter mistyped 97.0 %,
# contractions 97.9 %, "please", greetings and thanks 99.6 %, articles dropped or changed 99.4 %, adverbs inserted
# 98.5 %, sentences in another order 99.5 %; two neighbouring words swapped 97.7 % and 89.8 % (in five words another
# order is another statement), two letters mistyped 82 %. Another content word is another question: of copies with a
# synonym 7 to 16 % are found. Of the unchanged test set of banking77 380 are called near-duplicates. Of 135 alarms read
# under a slightly stricter setting (391 alarms) about 3 were other questions. OpenBookQA: 2 of 1,000, both right. Only
# the last edits, swaps and moved sentences, were measured again under the present setting.
NEAR_DUPLICATE = 0.92

# Pairs whose texts are kept; of the others the ids.
_SHOWN_ITEMS = 100

_EXACT, _NORMALISED, _NEAR = (f"{kind} text across splits" for kind in ("exact", "normalised", "near-duplicate"))
_IDS, _GROUPS = "sample ids across splits", "groups across splits"
_LEAKS = frozenset((_EXACT, _NORMALISED, _NEAR, _IDS, _GROUPS, CORPUS_CHECK))

_SPLIT_PAIRS = (("holdout", "train"), ("holdout", "dev"), ("dev", "train"))


def audit(
    pools: Pools,
    corpus: Sequence[Passage] = (),
    *,
    threshold: float = NEAR_DUPLICATE,
    corpus_is_lookup: bool = False,
    looked_up: Pools | None = None,
) -> tuple[Check, ...]:
    """Return what is wrong with the splits, one Check for each question, in a fixed order.

    Whatever reaches the holdout is "invalid"; train against dev is a "warning".

    Args:
        pools: "train" (also the pool that few-shot examples come from), "dev", "holdout"; a missing one is empty.
            Samples are compared by their input, so give them as `as_asked` does.
        corpus: The passages that may be retrieved.
        threshold: Similarity (0 to 1) from which two texts are nearly the same.
        corpus_is_lookup: The passages are a reference book that production has too (a code book, a manual), so finding
            the input in it is the task and not a leak; passages made from holdout samples stay one.
        looked_up: The pools with the input that retrieval looks for, if that is another.
    """
    found = tuple(twin for pair in _SPLIT_PAIRS for twin in twins(pools, *pair, threshold=threshold))
    checks = [
        _ids_check(pools),
        _twin_check(_EXACT, found, "exact", "the same text"),
        _twin_check(_NORMALISED, found, "normalised", "the same text but for case and punctuation"),
        _twin_check(_NEAR, found, "near", "nearly the same text and the same reference"),
        _similar_check(found),
        _groups_check(pools),
        duplicates_check(pools),
        conflicts_check(pools),
        sizes_check(pools),
    ]
    if corpus:
        checks.insert(6, corpus_check(looked_up or pools, corpus, threshold=threshold, is_lookup=corpus_is_lookup))
    return tuple(replace(check, kind="data") for check in checks)


def leaked_holdout_ids(checks: Sequence[Check]) -> frozenset[str]:
    """Return the ids of the holdout samples that a leakage check of `audit` names, as made or as read from a store.

    Long texts with another reference are a warning and no leak, so they are not among them.
    """
    return frozenset(name for check in checks if check.name in _LEAKS for name in _holdout_ids(check.items))


def _holdout_ids(items: Sequence[object]) -> Iterator[str]:
    for item in items:
        if isinstance(item, Mapping) and item.get("pool") == "holdout":
            yield from item["ids"] if "ids" in item else (item["id"],)


def _twin_check(name: str, pairs: Sequence[Twin], kind: Kind, fact: str) -> Check:
    found = [twin for twin in pairs if twin.kind == kind]
    return _leak_check(name, found, f"no sample has {fact} as one of another split", f"have {fact} as one of")


def _leak_check(name: str, found: Sequence[Twin], clean: str, fact: str) -> Check:
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
        items=_items(found),
    )


def _items(found: Sequence[Twin]) -> tuple[object, ...]:
    """Return every pair: what leaked is left out of the clean subset by its id, however many pairs there are."""
    return tuple(twin.item(texts=place < _SHOWN_ITEMS) for place, twin in enumerate(found))


def _similar_check(pairs: Sequence[Twin]) -> Check:
    """Long texts that share nearly every word but not the reference: one document asked twice, or two summaries."""
    name = "near-duplicate text with another reference"
    found = [twin for twin in pairs if twin.kind == "near, other reference"]
    if not found:
        return Check(name=name, status="ok", detail=f"none among texts of {LONG_TEXT_WORDS} words or more")
    return Check(
        name=name,
        status="warning",
        detail=f"{len(found):,} long texts share nearly every word with one of another split, but not the reference; "
        "if they come from one document, give it as the group",
        items=_items(found),
    )


def _ids_check(pools: Pools) -> Check:
    ids = {pool: {sample.id for sample in pools.get(pool, ())} for pool in ("holdout", "dev", "train")}
    items = [
        {"id": shared, "pool": pool, "other_pool": other}
        for pool, other in _SPLIT_PAIRS
        for shared in sorted(ids[pool] & ids[other])
    ]
    return _shared_check(_IDS, items, "sample ids", "id")


def _groups_check(pools: Pools) -> Check:
    members: dict[str, dict[str, list[str]]] = {pool: defaultdict(list) for pool in ("holdout", "dev", "train")}
    for pool, groups in members.items():
        for sample in pools.get(pool, ()):
            if sample.group is not None:
                groups[sample.group].append(sample.id)
    items = [
        {"group": shared, "pool": pool, "other_pool": other, "ids": members[pool][shared]}
        for pool, other in _SPLIT_PAIRS
        for shared in sorted(members[pool].keys() & members[other].keys())
    ]
    if not any(members.values()):
        return Check(name=_GROUPS, status="ok", detail="no sample names a group")
    return _shared_check(_GROUPS, items, "groups", "group")


def _shared_check(name: str, items: Sequence[Mapping[str, object]], noun: str, key: str) -> Check:
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
        items=tuple(dict(item) for item in items),
    )
