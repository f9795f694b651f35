"""What a page embeds so that its verdict can be recomputed from it alone: item scores, rule, checks, numbers.

Scores as columns of JSON: small enough for a page that embeds those of 100,000 answers.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.analysis.break_even import Payback
from harness.analysis.sequential import Horizon, horizon_of
from harness.data.leakage.audit import leaked_holdout_ids
from harness.experiment.criteria import Finding
from harness.experiment.declaration import Rule
from harness.report.read import DEV, GUARD, HOLDOUT, chosen, declaration, findings, finite, insights_of, units_of
from harness.store.rows import ComparisonRow, Evidence, ScoreRow
from harness.types.codec import from_json, to_json

_UNSEALED = "0" * 64
_SEAL = re.compile(r'<meta name="seal" content="([0-9a-f]{64})">')

JsonColumn = str | list[object] | dict[str, list[object]]


def packed_scores(scores: Sequence[float | None]) -> JsonColumn:
    """Return scores as one digit each where all are 0 or 1, else as a list of numbers, exact to the last bit."""
    if all(score in (0.0, 1.0) for score in scores):
        return "".join("1" if score else "0" for score in scores)
    return list(scores)


def unpacked_scores(column: object) -> list[float]:
    """Return the numbers, NaN for a score that is missing.

    Raises:
        ValueError: If `column` is not as `packed_scores` writes it.
    """
    if isinstance(column, str):
        return [float("01".index(digit)) for digit in column]
    if isinstance(column, list) and all(item is None or type(item) in (int, float) for item in column):
        return [math.nan if item is None else float(item) for item in column]
    raise ValueError("a column of scores is neither digits nor numbers")


def packed_values(values: Sequence[object]) -> JsonColumn:
    """Return JSON values as a list, or as each distinct one with the places where it stands, if they repeat."""
    places: dict[str, int] = {}
    codes: list[object] = [places.setdefault(json.dumps(value), len(places)) for value in values]
    if 2 * len(places) > len(values):
        return list(values)
    return {"distinct": [json.loads(text) for text in places], "codes": codes}


def unpacked_values(column: object) -> list[object]:
    """Raises:
    ValueError: If `column` is not as `packed_values` writes it.
    """
    if isinstance(column, list):
        return column
    if not isinstance(column, dict) or column.keys() != {"distinct", "codes"}:
        raise ValueError("a column of values is neither a list nor distinct values with their places")
    distinct = column["distinct"]
    return [distinct[code] for code in column["codes"]]


def seal_tag() -> str:
    """Return the element that `sealed` fills in."""
    return f'<meta name="seal" content="{_UNSEALED}">'


def sealed(page: str) -> str:
    """Return the page with the sha256 of its own text, taken with 64 zeros in the seal's place."""
    return page.replace(seal_tag(), f'<meta name="seal" content="{_digest(page)}">', 1)


def seal_holds(page: str) -> bool:
    """Say whether not one character was changed since the page was sealed; line ends don't count."""
    found = _SEAL.search(page)
    if found is None:
        return False
    return found[1] == _digest(page[: found.start(1)] + _UNSEALED + page[found.end(1) :])


def _digest(page: str) -> str:
    lines = page.replace("\r\n", "\n").replace("\r", "\n")
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


FORMAT = 1

_Runs = dict[tuple[int, int], dict[str, ScoreRow]]  # (seed, repeat) -> sample id -> row
_Scores = dict[tuple[str, str, str], _Runs]  # (split, metric, system) -> runs


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenCheck:
    name: str
    status: Literal["ok", "warning", "invalid"]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenSamples:
    """groups: one a sample, empty if no sample has one."""

    ids: tuple[str, ...] = ()
    groups: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenSide:
    """A system's scores as packed columns, one a run. runs: seed and repeat of each."""

    system: str
    runs: tuple[tuple[int, int], ...]
    scores: tuple[JsonColumn, ...]
    details: tuple[JsonColumn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenPair:
    """A comparison as stored, with the scores of both sides; `sides` is empty if it stands on no item scores.

    Args:
        horizon: The samples of the whole holdout where its intervals always hold.
    """

    stored: Mapping[str, Any]
    samples: str
    sides: tuple[ProvenSide, ...]
    horizon: Horizon | None

    @property
    def row(self) -> ComparisonRow:
        return from_json(ComparisonRow, {"experiment": "", **self.stored})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenStanding:
    """The baseline's scores on DEV, which `stop_if` looked at."""

    metric: str
    samples: str
    side: ProvenSide


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The rule, the checks, the scores behind every comparison of the verdict, and what it says.

    Attributes:
        statistics: 1 in pages that were drawn before it was recorded.
        noise: The floor of each metric for which one was measured.
        samples: Ids and groups in the order in which they were compared, by split or by a guard's comparison.
    """

    format: int
    experiment: str
    question: str
    rule: Rule | None
    rule_key: str
    units: Mapping[str, str]
    checks: tuple[ProvenCheck, ...]
    post_hoc: bool
    statistics: int = 1
    noise: Mapping[str, float]
    break_even: Payback | None
    samples: Mapping[str, ProvenSamples]
    pairs: tuple[ProvenPair, ...]
    standings: tuple[ProvenStanding, ...]
    verdict: str
    reason: str
    findings: tuple[Finding, ...]


def proof(evidence: Evidence) -> Proof:
    """Return what the page embeds."""
    decision, rule, insights = evidence.decision, declaration(evidence).rule, insights_of(evidence)
    scores = _by_run(evidence.scores)
    samples = _samples(evidence, rule)
    pairs = _pairs(evidence, scores, samples)
    standings = _standings(evidence, rule, scores, samples) if not pairs else ()
    used = {pair.samples for pair in pairs} | {item.samples for item in standings}
    return Proof(
        format=FORMAT,
        experiment=evidence.experiment.name,
        question=evidence.experiment.question,
        # `samples` holds the groups of those that were scored.
        rule=rule and replace(rule, guards=tuple(replace(guard, groups=None) for guard in rule.guards)),
        rule_key=decision.criteria_key,
        units=units_of(evidence),
        checks=tuple(ProvenCheck(name=row.name, status=row.status, detail=row.detail) for row in evidence.checks),
        post_hoc=decision.post_hoc,
        statistics=decision.statistics,
        noise={noise.metric: noise.floor for noise in insights.noise if math.isfinite(noise.floor)},
        break_even=insights.break_even,
        samples={name: found for name, found in samples.items() if name in used},
        pairs=pairs,
        standings=standings,
        verdict=decision.verdict,
        reason=decision.reason,
        findings=findings(evidence),
    )


def _by_run(rows: Iterable[ScoreRow]) -> _Scores:
    found: _Scores = {}
    for row in rows:
        runs = found.setdefault((row.split, row.metric, row.system), {})
        runs.setdefault((row.seed, row.repeat), {})[row.sample_id] = row
    return found


def _samples(evidence: Evidence, rule: Rule | None) -> dict[str, ProvenSamples]:
    """Return the samples that were compared, of the own splits by name and of each guard by its comparison's name.

    Their order is that of their scores, which is the order in which they were compared.
    """
    left_out = _left_out(evidence)
    groups = {(row.split, row.sample_id): row.cluster for row in evidence.samples if row.cluster is not None}
    for guard in rule.guards if rule else ():
        groups |= {(guard.metrics[0], name): group for name, group in (guard.groups or {}).items()}
    scored: dict[tuple[str, str], dict[str, None]] = {}
    for row in evidence.scores:
        if row.split != HOLDOUT or row.sample_id not in left_out:
            scored.setdefault((row.split, row.metric), {})[row.sample_id] = None
    found: dict[str, ProvenSamples] = {}
    for (split, metric), ids in scored.items():
        if split == GUARD:
            found[metric] = _ids_and_groups(metric, tuple(ids), groups)
            continue
        whole = max((other for (of, _), other in scored.items() if of == split), key=len)
        place = split if len(ids) == len(whole) else _part(split, metric)
        found[place] = _ids_and_groups(split, tuple(ids), groups)
    return found


def _part(split: str, metric: str) -> str:
    """Return what the samples of a metric that scores some of a split's are called."""
    return f"{split} {metric}"


def _ids_and_groups(place: str, ids: tuple[str, ...], groups: Mapping[tuple[str, str], str]) -> ProvenSamples:
    found = tuple(groups.get((place, name)) for name in ids)
    return ProvenSamples(ids=ids, groups=found if any(group is not None for group in found) else ())


def _left_out(evidence: Evidence) -> frozenset[str]:
    """Return the leaked holdout samples that the experiment answered but left out of its verdict."""
    return leaked_holdout_ids([row.check for row in evidence.checks if row.excused])


def _pairs(evidence: Evidence, scores: _Scores, samples: Mapping[str, ProvenSamples]) -> tuple[ProvenPair, ...]:
    """Return each holdout or guard comparison."""
    left_out = _left_out(evidence)
    asked = [row.cluster for row in evidence.samples if row.split == HOLDOUT and row.sample_id not in left_out]
    found = []
    for row in evidence.comparisons:
        if row.split != HOLDOUT:
            continue
        guard = row.metric in samples
        part = _part(HOLDOUT, row.metric)
        place = row.metric if guard else part if part in samples else HOLDOUT
        ids = samples[place].ids if place in samples else ()
        sides = tuple(
            _side(scores.get((GUARD if guard else HOLDOUT, row.metric, system), {}), system, ids)
            for system in (row.baseline, row.tuned)
        )
        stored = {name: value for name, value in to_json(row).items() if name not in _TOLD_OTHERWISE}
        found.append(
            ProvenPair(
                stored=stored,
                samples=place,
                sides=sides if all(side.runs for side in sides) else (),
                horizon=horizon_of(asked) if row.always_valid else None,
            )
        )
    return tuple(found)


# Columns of a comparison that a page holds in another place.
_TOLD_OTHERWISE = ("experiment", "guard", "always_valid")


def _standings(
    evidence: Evidence, rule: Rule | None, scores: _Scores, samples: Mapping[str, ProvenSamples]
) -> tuple[ProvenStanding, ...]:
    baseline = chosen(evidence, "baseline")
    if baseline is None or rule is None:
        return ()
    wanted = {metric for criterion in rule.stop_if for metric in criterion.metrics}
    found = []
    for (split, metric, system), runs in scores.items():
        if split == DEV and system == baseline.system and metric in wanted:
            place = part if (part := _part(DEV, metric)) in samples else DEV
            side = _side(runs, baseline.system, samples[place].ids if place in samples else ())
            found.append(ProvenStanding(metric=metric, samples=place, side=side))
    return tuple(found)


def _side(runs: _Runs, system: str, ids: Sequence[str]) -> ProvenSide:
    """Return a system's scores as columns, one a run, in the order of `ids`; None is a score that is missing."""
    rows = [[run.get(name) for name in ids] for run in runs.values()]
    return ProvenSide(
        system=system,
        runs=tuple(runs),
        scores=tuple(packed_scores([finite(row.score) if row else None for row in run]) for run in rows),
        details=tuple(packed_values([to_json(row.detail) if row else None for row in run]) for run in rows),
    )
