"""Tuning and retrieval, each alone and both together.

Whether a retriever had anything to give: one that finds nothing is the plain prompt under another name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.analysis.estimate import Estimate, Weighted, contrast
from harness.stats.compare import DEFAULT_LEVEL, Comparison, SystemScores, standing
from harness.stats.wording import confidence, count, rounded
from harness.types.protocols import Direction, Named
from harness.types.samples import Answer, Check, Split

Relation = Literal["add up", "overlap", "reinforce", "unclear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalCell:
    """One of the four systems: its mean score on DEV."""

    system: str
    tuned: bool
    retrieval: bool
    mean: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class FourWay:
    """Base, base with retrieval, tuned, tuned with retrieval, on the same DEV samples.

    Args:
        cells: In that order. Effects are paired differences in score units, signs as measured: tuning (tuned -
            base), retrieval (base with retrieval - base), added (tuned with retrieval - tuned), both (tuned with
            retrieval - base), joined (tuned with retrieval - base with retrieval), interaction (both - tuning -
            retrieval).
        relation: What the interaction shows: "add up" (its interval holds 0, and one of the effects is an
            improvement for sure), "overlap" (together they bring less than their sum), "reinforce" (more),
            "unclear" (neither alone is sure to help, so that there is nothing to add).
    """

    metric: str
    better: Direction
    unit: str
    level: float
    samples: int
    cells: tuple[RetrievalCell, RetrievalCell, RetrievalCell, RetrievalCell]
    tuning: Estimate
    retrieval: Estimate
    added: Estimate
    both: Estimate
    interaction: Estimate
    relation: Relation
    sentence: str
    joined: Estimate | None = None


def four_way(
    metric: Named,
    *,
    base: SystemScores,
    base_rag: SystemScores,
    tuned: SystemScores,
    tuned_rag: SystemScores,
) -> FourWay:
    """Return the table of the four systems on DEV, with the effects of tuning and retrieval and their interaction.

    Raises:
        Incomparable: If the systems were scored on different samples.

    Source: a 2 x 2 factorial design, every sample under all four treatments.
    """
    systems = (base, base_rag, tuned, tuned_rag)
    stands = [standing(metric, split=Split.DEV.value, system=system) for system in systems]
    unit = stands[0].unit

    def effect(*parts: tuple[float, SystemScores]) -> Estimate:
        weighted: Weighted = parts
        return contrast(metric, weighted, split=Split.DEV.value, unit=unit, level=DEFAULT_LEVEL)

    cells = [
        RetrievalCell(system=found.tuned, tuned=place > 1, retrieval=place % 2 == 1, mean=_mean(found))
        for place, found in enumerate(stands)
    ]
    tuning, retrieval = effect((1, tuned), (-1, base)), effect((1, base_rag), (-1, base))
    interaction = effect((1, tuned_rag), (-1, tuned), (-1, base_rag), (1, base))
    table = FourWay(
        metric=metric.name,
        better=metric.better,
        unit=unit,
        level=DEFAULT_LEVEL,
        samples=stands[0].samples,
        cells=(cells[0], cells[1], cells[2], cells[3]),
        tuning=tuning,
        retrieval=retrieval,
        added=effect((1, tuned_rag), (-1, tuned)),
        both=effect((1, tuned_rag), (-1, base)),
        joined=effect((1, tuned_rag), (-1, base_rag)),
        interaction=interaction,
        relation=_relation(tuning, retrieval, interaction, metric.better),
        sentence="",
    )
    return replace(table, sentence=_sentence(table))


def _mean(found: Comparison) -> Estimate:
    return Estimate(found.tuned_mean, found.tuned_low, found.tuned_high)


def _relation(tuning: Estimate, retrieval: Estimate, interaction: Estimate, better: Direction) -> Relation:
    if interaction.excludes_zero:
        return "reinforce" if (interaction.low > 0) == (better == "higher") else "overlap"
    sure = [effect.low > 0 if better == "higher" else effect.high < 0 for effect in (tuning, retrieval)]
    return "add up" if any(sure) else "unclear"


def _sentence(table: FourWay) -> str:
    means = [f"{cell.system} {rounded(cell.mean.value, unit=table.unit)}" for cell in table.cells]
    tuning, retrieval, both, interaction = (
        effect.as_difference(table.unit) for effect in (table.tuning, table.retrieval, table.both, table.interaction)
    )
    meaning = {
        "add up": "the interval holds 0: nothing shows that they do not add up",
        "overlap": "together they bring less than their sum, so they overlap",
        "reinforce": "together they bring more than their sum",
        "unclear": "neither alone is sure to help, so there is nothing to add up",
    }[table.relation]
    return (
        f"{table.metric} on DEV: {', '.join(means)}. Tuning changes it by {tuning}, retrieval by {retrieval}, both by "
        f"{both}; beyond the sum of the two lies {interaction} ({confidence(table.level)} intervals): {meaning}."
    )


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
