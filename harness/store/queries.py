"""What the store holds about one experiment, read back within a transaction.

Which holdouts are the same evidence: looks count by the samples that were seen, not by what a split is called.

What stands in the store about any system of any experiment: for comparing two that no experiment paired.

Answers beside their scores by one metric, as an experiment's last judgement left them.
"""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.preferences import ScoredAnswer
from harness.store.database import insert, select, stored_stages, transaction
from harness.store.rows import (
    AnswerRow,
    CheckRow,
    ComparisonRow,
    DecisionRow,
    Evidence,
    ExperimentRow,
    ExperimentStageRow,
    HoldoutRow,
    InsightRow,
    LookRow,
    SampleRow,
    ScoreRow,
    SliceRow,
    SystemMeanRow,
    SystemRow,
    TrainingLogRow,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


# A holdout of which a tenth was seen before is not fresh: what was seen may have chosen what is judged on the rest.
SHARED = 0.1

_OVERLAPPING = """
    SELECT theirs.holdout_key
    FROM holdouts AS theirs JOIN (SELECT unnest(?) AS sample_key) AS mine USING (sample_key)
    GROUP BY theirs.holdout_key HAVING count(*) >= ?
"""


def keep_holdout(connection: "DuckDBPyConnection", samples: Sequence[HoldoutRow]) -> None:
    """Keep what a holdout holds, unless it is known."""
    if not samples:
        return
    key = samples[0].holdout_key
    if connection.execute("SELECT 1 FROM holdouts WHERE holdout_key = ?", [key]).fetchone() is None:
        insert(connection, list(dict.fromkeys(samples)))


def looks_at(connection: "DuckDBPyConnection", samples: Sequence[HoldoutRow]) -> tuple[LookRow, ...]:
    """Return the looks at these samples' holdout and at every other that shares `SHARED` of them, oldest first."""
    if not samples:
        return ()
    keys = list({row.sample_key for row in samples})
    found = connection.execute(_OVERLAPPING, [keys, max(1.0, SHARED * len(keys))]).fetchall()
    return _looks(connection, {samples[0].holdout_key, *(str(row[0]) for row in found)})


def looks_of(connection: "DuckDBPyConnection", name: str) -> tuple[LookRow, ...]:
    """Return every look at the holdouts that this experiment has opened, by whichever experiment, oldest first."""
    opened = connection.execute("SELECT DISTINCT holdout_key FROM looks WHERE experiment = ?", [name]).fetchall()
    looks: dict[LookRow, None] = {}
    for (key,) in opened:
        samples = select(connection, HoldoutRow, where="holdout_key = ?", parameters=[key])
        looks |= dict.fromkeys(looks_at(connection, samples) or _looks(connection, {str(key)}))
    return tuple(sorted(looks, key=lambda look: (look.looked_at, look.system)))


def _looks(connection: "DuckDBPyConnection", holdouts: set[str]) -> tuple[LookRow, ...]:
    where = "holdout_key IN (SELECT unnest(?))"
    return select(connection, LookRow, where=where, parameters=[sorted(holdouts)], order="looked_at, system")


def decisions_of(connection: "DuckDBPyConnection", name: str) -> tuple[DecisionRow, ...]:
    return select(connection, DecisionRow, where="experiment = ?", parameters=[name], order="decided_at, rowid")


def state_of(connection: "DuckDBPyConnection", name: str) -> str:
    """Identify what `evidence_of` would return, without reading answers or scores.

    Those are written with the judgement that they belong to, or with a stage, and never change by themselves.
    """
    judged = connection.execute(
        "SELECT e.created_at, count(d.decided_at), max(d.decided_at) FROM experiments AS e "
        "JOIN decisions AS d ON d.experiment = e.name WHERE e.name = ? GROUP BY e.created_at",
        [name],
    ).fetchall()
    stages = connection.execute(
        "SELECT s.key, s.started_at, s.seconds FROM experiment_stages AS e JOIN stages AS s ON s.key = e.stage_key "
        "WHERE e.experiment = ? ORDER BY ALL",
        [name],
    ).fetchall()
    facts = repr((judged, stages, looks_of(connection, name)))
    return hashlib.sha256(facts.encode()).hexdigest()


def evidence_of(connection: "DuckDBPyConnection", name: str) -> Evidence | None:
    experiments = select(connection, ExperimentRow, where="name = ?", parameters=[name])
    decisions = decisions_of(connection, name)
    if not experiments or not decisions:
        return None
    mine = {"where": "experiment = ?", "parameters": [name]}
    by_part = "system, kind, split, part, seed"
    memberships = select(connection, ExperimentStageRow, order=by_part, **mine)  # type: ignore[arg-type]
    keys = [membership.stage_key for membership in memberships]
    of_stages = {"where": "stage_key IN (SELECT unnest(?))", "parameters": [keys]}
    return Evidence(
        experiment=experiments[0],
        decision=decisions[-1],
        decisions=decisions,
        systems=select(connection, SystemRow, order="role, rowid", **mine),  # type: ignore[arg-type]
        stages=stored_stages(connection, keys),
        memberships=memberships,
        samples=select(connection, SampleRow, order="split, position", **mine),  # type: ignore[arg-type]
        answers=select(connection, AnswerRow, **of_stages),  # type: ignore[arg-type]
        scores=select(connection, ScoreRow, order="metric, system, split, seed, repeat, rowid", **mine),  # type: ignore[arg-type]
        training_log=select(connection, TrainingLogRow, order="stage_key, name, step", **of_stages),  # type: ignore[arg-type]
        comparisons=select(connection, ComparisonRow, order="rowid", **mine),  # type: ignore[arg-type]
        system_means=select(connection, SystemMeanRow, order="rowid", **mine),  # type: ignore[arg-type]
        checks=select(connection, CheckRow, order="position", **mine),  # type: ignore[arg-type]
        looks=looks_of(connection, name),
        slices=select(connection, SliceRow, order="metric, position", **mine),  # type: ignore[arg-type]
        insights=select(connection, InsightRow, order="rowid", **mine),  # type: ignore[arg-type]
    )


def system_means(path: Path, split: str) -> tuple[SystemMeanRow, ...]:
    """Return which systems were measured on this split, by which metrics, in every experiment."""
    with transaction(path) as connection:
        return select(connection, SystemMeanRow, where="split = ?", parameters=[split], order="rowid")


def scores_of(path: Path, *, experiment: str, system: str, split: str) -> tuple[ScoreRow, ...]:
    where = "experiment = ? AND system = ? AND split = ?"
    with transaction(path) as connection:
        return select(
            connection,
            ScoreRow,
            where=where,
            parameters=[experiment, system, split],
            order="metric, seed, repeat, sample_id",
        )


def stored_samples(path: Path, *, experiment: str, split: str) -> tuple[SampleRow, ...]:
    """Return the samples of one split in their declared order."""
    where = "experiment = ? AND split = ?"
    with transaction(path) as connection:
        return select(connection, SampleRow, where=where, parameters=[experiment, split], order="position")


def declaration_of(path: Path, experiment: str) -> object:
    """Return the stored declaration, or None for an experiment that was never judged."""
    with transaction(path) as connection:
        found = select(connection, ExperimentRow, where="name = ?", parameters=[experiment])
    return found[0].declaration if found else None


_SCORED = """
    SELECT scores.split, scores.sample_id, samples.input, scores.system, answers.text, scores.score
    FROM scores
    JOIN answers USING (stage_key, sample_id, repeat)
    JOIN samples ON samples.experiment = scores.experiment AND samples.split = scores.split
        AND samples.sample_id = scores.sample_id
    WHERE scores.experiment = ? AND scores.metric = ? AND scores.split IN (SELECT unnest(?))
        AND scores.score IS NOT NULL
    ORDER BY samples.position, scores.system, scores.seed, scores.repeat
"""
_MEASURED = """
    SELECT DISTINCT scores.metric, scores.split, system_means.better
    FROM scores
    LEFT JOIN system_means USING (experiment, metric)
    WHERE scores.experiment = ?
    ORDER BY ALL
"""


def scored_answers(path: Path, experiment: str, *, metric: str, splits: Collection[str]) -> tuple[ScoredAnswer, ...]:
    """Return the answers of every system to the samples of `splits`, in the samples' order."""
    with transaction(path) as connection:
        found = connection.execute(_SCORED, [experiment, metric, list(splits)]).fetchall()
    return tuple(
        ScoredAnswer(split=split, sample_id=name, question=question, system=system, text=text, score=score)
        for split, name, question, system, text, score in found
    )


def metrics_measured(path: Path, experiment: str) -> dict[str, tuple[str, set[str]]]:
    """Return, for each metric with stored scores, which direction is better and the splits it was scored on."""
    with transaction(path) as connection:
        found = connection.execute(_MEASURED, [experiment]).fetchall()
    measured: dict[str, tuple[str, set[str]]] = {}
    for metric, split, better in found:
        measured.setdefault(metric, (better or "higher", set()))[1].add(split)
    return measured
