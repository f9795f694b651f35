"""Whether a retriever had anything to give: one that finds nothing is the plain prompt under another name."""

from collections.abc import Sequence

from harness.samples import Answer, Check
from harness.stats.wording import count

RETRIEVER = "retriever"
_SOME, _MOST = 0.05, 0.5


def lookups(system: str, answers: Sequence[Answer]) -> Check | None:
    """Return how many answers a retriever found nothing for; None for a system that looks nothing up.

    A few are a warning. Most of them are no evidence against retrieval: a gain over it would be one over a straw man.
    """
    found = [answer.retrieved for answer in answers if answer.retrieved is not None]
    if not found:
        return None
    empty, samples = found.count(0), count(len(found), "DEV sample")
    item = {"system": system, "empty": empty, "samples": len(found)}
    if empty <= _SOME * len(found):
        said = "something for every sample" if not empty else f"nothing for {empty:,} of {samples}"
        return Check(name=RETRIEVER, status="ok", detail=f"{system}: the retriever found {said}", items=(item,))
    return Check(
        name=RETRIEVER,
        status="invalid" if empty > _MOST * len(found) else "warning",
        detail=f"{system}: the retriever found nothing for {empty:,} of {samples}, which were asked without; look at "
        'the texts that it searches: bm25 finds shared words alone, retriever="dense" finds by meaning',
        items=(item,),
    )
