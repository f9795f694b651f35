"""What is inside the splits: repeated texts, references that contradict each other, sizes."""

from collections import defaultdict
from collections.abc import Sequence

from harness.data.similarity import same_text
from harness.data.twins import Pools, shown
from harness.samples import Check, Sample

HOLDOUT_AT_LEAST = 30
TRAIN_AT_LEAST = 10
TRAIN_FOR_AN_EFFECT = 50

_SHOWN_ITEMS = 100
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
            {"pool": pool, "ids": [sample.id for sample in group][:10], "text": shown(group[0].input)}
            for group in repeated
        ]
    name = DUPLICATES
    if not items:
        return Check(name=name, status="ok", detail="no text appears twice in a split")
    detail = f"repeated texts: {', '.join(counts)}"
    if any(item["pool"] == "holdout" for item in items):
        holdout = pools["holdout"]
        detail += (
            f"; the {len(holdout):,} holdout samples are {_distinct(holdout):,} inputs, and equal inputs are one "
            "cluster in every interval and test"
        )
    return Check(name=name, status="warning", detail=detail, items=tuple(items[:_SHOWN_ITEMS]))


def conflicts_check(pools: Pools) -> Check:
    """Return whether equal inputs have more than one reference, in one split or in several."""
    references: dict[str, dict[str, tuple[str, Sample]]] = defaultdict(dict)
    for pool in ("train", "dev", "holdout"):
        for sample in pools.get(pool, ()):
            references[same_text(sample.input)].setdefault(sample.reference.strip(), (pool, sample))
    conflicts = [tuple(found.values()) for found in references.values() if len(found) > 1]
    name = CONFLICTS
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
