"""What the store holds about one experiment, read back within a transaction."""

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from harness.store.holdouts import looks_of
from harness.store.rows import (
    AnswerRow,
    CheckRow,
    ComparisonRow,
    DecisionRow,
    Evidence,
    ExperimentRow,
    ExperimentStageRow,
    InsightRow,
    SampleRow,
    ScoreRow,
    SliceRow,
    StageRow,
    SystemMeanRow,
    SystemRow,
    TrainingLogRow,
)
from harness.store.tables import select

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def stages_of(connection: "DuckDBPyConnection", keys: Collection[str]) -> tuple[StageRow, ...]:
    return select(
        connection,
        StageRow,
        "stages",
        where="key IN (SELECT unnest(?))",
        parameters=[list(keys)],
        order="started_at, key",
    )


def decisions_of(connection: "DuckDBPyConnection", name: str) -> tuple[DecisionRow, ...]:
    return select(
        connection, DecisionRow, "decisions", where="experiment = ?", parameters=[name], order="decided_at, rowid"
    )


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
    experiments = select(connection, ExperimentRow, "experiments", where="name = ?", parameters=[name])
    decisions = decisions_of(connection, name)
    if not experiments or not decisions:
        return None
    mine = {"where": "experiment = ?", "parameters": [name]}
    by_part = "system, kind, split, part, seed"
    memberships = select(connection, ExperimentStageRow, "experiment_stages", order=by_part, **mine)  # type: ignore[arg-type]
    keys = [membership.stage_key for membership in memberships]
    of_stages = {"where": "stage_key IN (SELECT unnest(?))", "parameters": [keys]}
    return Evidence(
        experiment=experiments[0],
        decision=decisions[-1],
        decisions=decisions,
        systems=select(connection, SystemRow, "systems", order="role, rowid", **mine),  # type: ignore[arg-type]
        stages=stages_of(connection, keys),
        memberships=memberships,
        samples=select(connection, SampleRow, "samples", order="split, position", **mine),  # type: ignore[arg-type]
        answers=select(connection, AnswerRow, "answers", **of_stages),  # type: ignore[arg-type]
        scores=select(connection, ScoreRow, "scores", order="metric, system, split, seed, repeat, rowid", **mine),  # type: ignore[arg-type]
        training_log=select(connection, TrainingLogRow, "training_log", order="stage_key, name, step", **of_stages),  # type: ignore[arg-type]
        comparisons=select(connection, ComparisonRow, "comparisons", order="rowid", **mine),  # type: ignore[arg-type]
        system_means=select(connection, SystemMeanRow, "system_means", order="rowid", **mine),  # type: ignore[arg-type]
        checks=select(connection, CheckRow, "checks", order="position", **mine),  # type: ignore[arg-type]
        looks=looks_of(connection, name),
        slices=select(connection, SliceRow, "slices", order="metric, position", **mine),  # type: ignore[arg-type]
        insights=select(connection, InsightRow, "insights", order="rowid", **mine),  # type: ignore[arg-type]
    )
