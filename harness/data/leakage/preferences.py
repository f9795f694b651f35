"""Does a file of preferences ask what the holdout asks? Its prompts are compared as training samples are."""

from collections.abc import Iterable, Sequence

from harness.data.leakage.drop_train import copies_in
from harness.data.preferences import Preferred, Voted
from harness.types.samples import Check, Sample

_SHOWN = 100


def preference_leakage(
    rows: Iterable[Preferred | Voted], *, dev: Sequence[Sample], holdout: Sequence[Sample], file: str
) -> Check:
    """Return the check of a preference file's prompts against the experiment's splits.

    A prompt of the holdout, equal or nearly equal, is "invalid": the tuned model was shown how to answer it. One of
    DEV is a "warning": systems are chosen there.
    """
    asked = [_as_sample(row) for row in rows]
    pools = {"preferences": asked, "dev": dev, "holdout": holdout}
    opened, seen = (list(copies_in(pools, pool, "preferences")) for pool in ("holdout", "dev"))
    name = "preference prompts across splits"
    counts = [
        f"{len(found):,} of {len(pools[pool]):,} {pool} samples are asked in {file}"
        for pool, found in (("holdout", opened), ("dev", seen))
        if found
    ]
    if not counts:
        return Check(name=name, status="ok", detail=f"no prompt of {file} is one of dev or holdout", kind="data")
    first = (opened or seen)[0]
    remedy = "take those rows out" if opened else "systems are chosen on dev, which favours what learned its answers"
    return Check(
        name=name,
        status="invalid" if opened else "warning",
        detail=f"{', '.join(counts)}; first {first.sample.id} and {first.other.id}; {remedy}",
        items=tuple(twin.item(texts=place < _SHOWN) for place, twin in enumerate((*opened, *seen))),
        kind="data",
    )


def _as_sample(row: Preferred | Voted) -> Sample:
    """Return what is compared: a conversation by its turns but the system's, as a task's samples are."""
    return Sample(id=row.id, input=row.text, reference=row.chosen if isinstance(row, Preferred) else row.answer)
