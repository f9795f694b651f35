"""Where the evidence comes from: data, environment, earlier verdicts, looks at the holdout."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from harness.report.read import declaration
from harness.store.rows import CheckRow, Evidence

_SPLIT_ORDER = ("train", "dev", "holdout")
_MOST_ITEMS = 20
_KINDS = (
    ("data", "Data", "Whether the holdout is unseen, and the data fit to learn from."),
    (
        "protocol",
        "Protocol",
        "Whether training, evaluation and serving see the same prompts, and the tuned weights were used.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSize:
    split: str
    samples: int
    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """items: offending pairs or ids as text, at most twenty; more: how many were left out."""

    name: str
    kind: str
    status: str
    detail: str
    items: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentLine:
    """One recorded fact; several values where stages differ, each with the stages that have it."""

    name: str
    values: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDecision:
    decided_at: datetime
    verdict: str
    reason: str
    post_hoc: bool
    rule_changed: bool
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutLook:
    """How often one system's answers to this holdout were looked at, over all its seeds."""

    experiment: str
    system: str
    times: int
    first: datetime
    last: datetime
    rules: int


def split_sizes(evidence: Evidence) -> tuple[SplitSize, ...]:
    """Return the stored samples of each split, in the order train, dev, holdout."""
    splits = sorted({row.split for row in evidence.samples}, key=_split_rank)
    return tuple(
        SplitSize(
            split=split,
            samples=sum(row.split == split for row in evidence.samples),
            groups=len({row.cluster for row in evidence.samples if row.split == split and row.cluster}),
        )
        for split in splits
    )


def check_lines(evidence: Evidence) -> tuple[CheckLine, ...]:
    """Return every check, those that make the evidence invalid first."""
    rank = {"invalid": 0, "warning": 1, "ok": 2}
    rows = sorted(evidence.checks, key=lambda row: (rank.get(row.status, 1), row.position))
    return tuple(_check_line(row) for row in rows)


def check_groups(evidence: Evidence) -> tuple[tuple[str, str, tuple[CheckLine, ...]], ...]:
    """Return (title, what it is about, checks) for data and protocol; readiness stands beside the verdict."""
    lines = check_lines(evidence)
    groups = ((title, lead, tuple(line for line in lines if line.kind == kind)) for kind, title, lead in _KINDS)
    return tuple(group for group in groups if group[2])


def environment_lines(evidence: Evidence) -> tuple[EnvironmentLine, ...]:
    """Return each fact once with its values, and for differing values the stages they belong to."""
    found: dict[str, dict[str, list[str]]] = {}
    for stage in evidence.stages:
        facts = stage.environment if isinstance(stage.environment, Mapping) else {}
        for name, value in _flat(facts):
            found.setdefault(name, {}).setdefault(value, []).append(f"{stage.kind} {stage.system}")
    return tuple(
        EnvironmentLine(
            name=name,
            values=tuple((value, tuple(dict.fromkeys(stages))) for value, stages in values.items()),
        )
        for name, values in sorted(found.items())
    )


def versions(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(declaration(evidence).versions.items()))


def seeds(evidence: Evidence) -> tuple[str, ...]:
    """Return the declared seeds, else those that were tuned with."""
    trained = sorted({row.seed for row in evidence.memberships if row.kind == "tune"})
    return tuple(str(seed) for seed in declaration(evidence).seeds or trained)


def history(evidence: Evidence) -> tuple[PastDecision, ...]:
    """Return every verdict, the latest first; rule_changed: its rule is not that of the verdict before it."""
    rows = sorted(evidence.decisions or (evidence.decision,), key=lambda row: row.decided_at)
    past = [
        PastDecision(
            decided_at=row.decided_at,
            verdict=row.verdict,
            reason=row.reason,
            post_hoc=row.post_hoc,
            rule_changed=place > 0 and rows[place - 1].criteria_key != row.criteria_key,
            current=place == len(rows) - 1,
        )
        for place, row in enumerate(rows)
    ]
    return tuple(reversed(past))


def holdout_looks(evidence: Evidence) -> tuple[HoldoutLook, ...]:
    """Return who looked at the holdout and how often, in the order of the first look."""
    found: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for look in sorted(evidence.looks, key=lambda look: look.looked_at):
        found.setdefault((look.experiment, look.system), []).append((look.looked_at, look.criteria_key))
    return tuple(
        HoldoutLook(
            experiment=experiment,
            system=system,
            times=len(looks),
            first=looks[0][0],
            last=looks[-1][0],
            rules=len({rule for _, rule in looks}),
        )
        for (experiment, system), looks in found.items()
    )


def _check_line(row: CheckRow) -> CheckLine:
    items = row.items if isinstance(row.items, list | tuple) else ()
    shown = tuple(_text(item) for item in items[:_MOST_ITEMS])
    return CheckLine(
        name=row.name,
        kind=row.kind,
        status=row.status,
        detail=row.detail,
        items=shown,
        more=max(0, len(items) - _MOST_ITEMS),
    )


def _flat(facts: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        elif value is not None:
            yield f"{prefix}{name}", _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _split_rank(split: str) -> tuple[int, str]:
    return (_SPLIT_ORDER.index(split) if split in _SPLIT_ORDER else len(_SPLIT_ORDER), split)
