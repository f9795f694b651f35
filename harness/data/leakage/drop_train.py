"""Copies of DEV and HOLDOUT samples taken out of what a task trains on, shows as examples and retrieves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.data.leakage.audit import NEAR_DUPLICATE
from harness.data.leakage.equal_inputs import as_asked
from harness.data.leakage.near_duplicates import Pools, Twin, twins
from harness.data.task_part import part_of_task
from harness.errors import InvalidExperiment
from harness.types.protocols import HasCorpus, Task
from harness.types.samples import Check, Passage, Sample, Split

DROPPED_CHECK = "copies dropped from train"

_SHOWN_ITEMS = 100
_MEASURED = (Split.HOLDOUT, Split.DEV)


@dataclass(frozen=True)
class Dropped:
    """The task without the copies, itself if there are none, and the check that counts them."""

    task: Task
    check: Check


def without_copies(task: Task) -> Dropped:
    """Return `task` whose TRAIN shares no text, id or group with DEV or HOLDOUT, as the leakage checks count them.

    TRAIN is also what few-shot examples are drawn from. Of a corpus the passages go that were made from a dropped
    sample, or from or beside one of DEV or HOLDOUT.

    Raises:
        InvalidExperiment: If nothing of TRAIN is left.
    """
    asked = as_asked(task)
    found = _copies(asked)
    train = asked[Split.TRAIN]
    gone = _passages(task, asked, set(found))
    if not found and not gone:
        detail = f"none of {len(train):,} train samples is a copy of dev or holdout"
        return Dropped(task, Check(name=DROPPED_CHECK, status="ok", detail=detail, kind="data"))
    if len(found) == len(train):
        raise InvalidExperiment(
            f'task {task.name!r}: leaks="drop_train" leaves nothing to train on: all {len(train):,} train samples are '
            "copies of dev or holdout, or of their groups; give other training data, or split the rows anew by group"
        )
    detail = (
        f"{len(found):,} of {len(train):,} train samples left out of training and few-shot examples, since they share "
        f"text, id or group with holdout or dev; {len(train) - len(found):,} are left"
    )
    detail += f"; {len(gone):,} passages made from such samples left out of retrieval" if gone else ""
    items = tuple(twin.item(texts=place < _SHOWN_ITEMS) for place, twin in enumerate(found.values()))
    kept = tuple(sample for sample in task.samples(Split.TRAIN) if sample.id not in found)
    passages = (
        tuple(one for one in task.corpus() if one.id not in gone) if gone and isinstance(task, HasCorpus) else None
    )
    check = Check(name=DROPPED_CHECK, status="warning", detail=detail, items=items, kind="data")
    return Dropped(part_of_task(task, {Split.TRAIN: kept}, passages), check)


def _copies(asked: Mapping[Split, tuple[Sample, ...]]) -> dict[str, Twin]:
    """Return the train samples that are copies, by id, each with what it is a copy of."""
    pools = {split.value: samples for split, samples in asked.items()}
    found: dict[str, Twin] = {}
    for split in _MEASURED:
        for twin in (*_related(asked, split), *copies_in(pools, "train", split.value)):
            found.setdefault(twin.sample.id, twin)
    while True:
        # The leakage checks look from the other side, and near texts need not be found from both.
        pools["train"] = tuple(sample for sample in asked[Split.TRAIN] if sample.id not in found)
        seen = [twin for split in _MEASURED for twin in copies_in(pools, split.value, "train")]
        if not seen:
            return found
        for twin in seen:
            found[twin.other.id] = Twin(twin.kind, "train", twin.other, twin.pool, twin.sample, twin.similarity)


def copies_in(pools: Pools, pool: str, other: str) -> Iterator[Twin]:
    """Yield the samples of `pool` that are copies of one of `other`, as the leakage checks count them."""
    found = twins(pools, pool, other, threshold=NEAR_DUPLICATE)
    return (twin for twin in found if twin.kind != "near, other reference")


def _related(asked: Mapping[Split, tuple[Sample, ...]], split: Split) -> Iterator[Twin]:
    """Yield the train samples that share an id or a group with one of `split`."""
    ids = {sample.id: sample for sample in asked[split]}
    groups = {sample.group: sample for sample in asked[split] if sample.group is not None}
    for sample in asked[Split.TRAIN]:
        other = ids.get(sample.id) or (groups.get(sample.group) if sample.group is not None else None)
        if other is not None:
            yield Twin("same id or group", "train", sample, split.value, other, 1.0)


def _passages(task: Task, asked: Mapping[Split, tuple[Sample, ...]], dropped: set[str]) -> set[str]:
    """Return the ids of the passages that were made from a copy, or from or beside what is measured on."""
    corpus: tuple[Passage, ...] = tuple(task.corpus()) if isinstance(task, HasCorpus) else ()
    measured = [sample for split in _MEASURED for sample in asked[split]]
    origins = dropped | {sample.id for sample in measured}
    groups = {sample.group for sample in measured if sample.group is not None}
    return {one.id for one in corpus if one.sample_id in origins or (one.group is not None and one.group in groups)}
