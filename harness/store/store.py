"""What a run asks of the store: is it there, keep this, give me all evidence. One method, one transaction."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import QueryFailed, StageFailed
from harness.store.database import Listing, Stored, insert, reading, select, stored_stages, transaction
from harness.store.queries import decisions_of, evidence_of, keep_holdout, looks_at, state_of
from harness.store.rows import (
    AnswerRow,
    CheckRow,
    ComparisonRow,
    ContinualRow,
    DecisionRow,
    Evidence,
    ExperimentRow,
    ExperimentStageRow,
    HoldoutRow,
    InsightRow,
    LikelihoodRow,
    LookRow,
    MeasureRow,
    SampleRow,
    ScoreRow,
    SliceRow,
    StageRow,
    SystemMeanRow,
    SystemRow,
    TrainingLogRow,
    ValueRow,
)
from harness.types.files import write_whole

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


StageContent = AnswerRow | LikelihoodRow | MeasureRow
_Content = TypeVar("_Content", AnswerRow, LikelihoodRow, MeasureRow)
_CONTENT: tuple[type[StageContent], ...] = (AnswerRow, LikelihoodRow, MeasureRow)


@dataclass(frozen=True)
class Judgement:
    """Everything that scoring and deciding produce for one experiment; it replaces what stood before."""

    experiment: ExperimentRow
    memberships: Sequence[ExperimentStageRow]
    systems: Sequence[SystemRow]
    samples: Sequence[SampleRow]
    scores: Sequence[ScoreRow]
    comparisons: Sequence[ComparisonRow]
    system_means: Sequence[SystemMeanRow]
    checks: Sequence[CheckRow]
    decision: DecisionRow
    slices: Sequence[SliceRow] = ()
    insights: Sequence[InsightRow] = ()
    continual: Sequence[ContinualRow] = ()


@dataclass(frozen=True)
class Store:
    """The file of results; `path` is created on first use."""

    path: Path
    _listing: Listing = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_listing", Listing(self.path))

    def _transaction(self) -> AbstractContextManager["DuckDBPyConnection"]:
        return transaction(self.path, listing=self._listing)

    @property
    def folder(self) -> Path:
        return self.path.parent

    # -- stages ---------------------------------------------------------------------------------------------

    def stage(self, key: str) -> StageRow | None:
        """Return the finished stage of this key, or None."""
        return self.stages([key]).get(key)

    def stages(self, keys: Collection[str]) -> dict[str, StageRow]:
        """Return the finished stages among `keys`."""
        known = self._listing
        if not (known.is_current and all(key in known.rows or key not in known.finished for key in keys)):
            with self._transaction() as connection:
                known.read(connection)
                known.rows.update((stage.key, stage) for stage in stored_stages(connection, keys))
        return {key: known.rows[key] for key in keys if key in known.rows}

    def answers(self, key: str) -> tuple[AnswerRow, ...]:
        return self._content(AnswerRow, key)

    def likelihoods(self, key: str) -> tuple[LikelihoodRow, ...]:
        return self._content(LikelihoodRow, key)

    def measures(self, key: str) -> tuple[MeasureRow, ...]:
        return self._content(MeasureRow, key)

    def _content(self, kind: type[_Content], key: str) -> tuple[_Content, ...]:
        if self._listing.is_current:
            if key not in self._listing.begun:
                return ()
            last, rows = self._listing.last.get(kind, ("", ()))
            if last == key:
                return rows
        with self._transaction() as connection:
            self._listing.read(connection)
            return select(connection, kind, where="stage_key = ?", parameters=[key])

    def training_log(self, key: str) -> tuple[TrainingLogRow, ...]:
        with self._transaction() as connection:
            return select(connection, TrainingLogRow, where="stage_key = ?", parameters=[key])

    def append(self, rows: Sequence[StageContent]) -> None:
        """Keep one batch of an unfinished stage, whole or not at all."""
        if rows:
            with self._transaction() as connection:
                _insert_content(connection, rows)
                self._listing.add(begun={row.stage_key for row in rows})

    def revalue(self, key: str, values: Mapping[str, object]) -> None:
        """Keep what a task's changed reader makes of stored answers: sample id -> value."""
        rows = [ValueRow(sample_id=sample_id, value=value) for sample_id, value in values.items()]
        with self._transaction() as connection:
            connection.execute("CREATE TEMP TABLE revalued (sample_id VARCHAR, value JSON)")
            insert(connection, rows)
            connection.execute(
                "UPDATE answers SET value = r.value FROM revalued AS r "
                "WHERE answers.stage_key = ? AND answers.sample_id = r.sample_id",
                [key],
            )
            connection.execute("DROP TABLE revalued")
            self._listing.last.clear()

    def finish(
        self,
        stage: StageRow,
        *,
        rows: Sequence[StageContent] = (),
        log: Sequence[TrainingLogRow] = (),
    ) -> None:
        """Keep the last rows and the stage itself in one transaction: from now on it is finished."""
        with self._transaction() as connection:
            if stored_stages(connection, [stage.key]):
                raise StageFailed(f"stage {stage.key[:12]} is finished already; two runs worked on it at once")
            _insert_content(connection, rows)
            insert(connection, log)
            insert(connection, [stage])
            self._write_index(connection)
            if not self._listing.is_known:
                self._listing.read(connection)
            self._listing.last.update(self._read_back(connection, stage.key, {type(row) for row in rows}))
            self._listing.rows.update((one.key, one) for one in stored_stages(connection, [stage.key]))
            self._listing.add(finished=[stage.key], begun={row.stage_key for row in rows})

    def _read_back(
        self, connection: "DuckDBPyConnection", key: str, written: Collection[type]
    ) -> dict[type, tuple[str, tuple[Any, ...]]]:
        """Return all rows of a stage by kind; written: the kinds that it was just given."""
        begun = key in self._listing.begun  # by an earlier write; if that is unknown, by this one too
        found: dict[type, tuple[str, tuple[Any, ...]]] = {}
        for kind in _CONTENT:
            there = begun or kind in written
            found[kind] = key, select(connection, kind, where="stage_key = ?", parameters=[key]) if there else ()
        return found

    def forget(self, keys: Collection[str]) -> None:
        """Delete these stages with their answers (what --fresh asks for)."""
        with self._transaction() as connection:
            for kind in (*_CONTENT, TrainingLogRow, StageRow):
                column = "key" if kind is StageRow else "stage_key"
                query = f"DELETE FROM {kind.TABLE} WHERE {column} IN (SELECT unnest(?))"  # noqa: S608 - names are ours
                connection.execute(query, [list(keys)])
            self._write_index(connection)
            self._listing.drop(keys)

    # -- holdout --------------------------------------------------------------------------------------------

    def look(self, looks: Sequence[LookRow], samples: Sequence[HoldoutRow]) -> None:
        """Record that systems are about to be shown this holdout; the first record of a look stays."""
        with self._transaction() as connection:
            for look in looks:
                _insert_look(connection, look)
            keep_holdout(connection, samples)

    def looks(self, samples: Sequence[HoldoutRow]) -> tuple[LookRow, ...]:
        """Return the looks at this holdout, and at every other that holds a tenth of its samples."""
        with self._transaction() as connection:
            return looks_at(connection, samples)

    # -- experiments ----------------------------------------------------------------------------------------

    def judge(self, judgement: Judgement) -> None:
        """Replace what the store says about this experiment; decisions are added, never replaced."""
        name = judgement.experiment.name
        with self._transaction() as connection:
            for kind, rows in _replaced(judgement):
                column = "name" if kind is ExperimentRow else "experiment"
                connection.execute(f"DELETE FROM {kind.TABLE} WHERE {column} = ?", [name])  # noqa: S608 - names are ours
                insert(connection, rows)
            if not _repeats_last(connection, judgement.decision):
                insert(connection, [judgement.decision])

    def experiments(self) -> tuple[str, ...]:
        """Return the names of all experiments that have a decision, in order of name."""
        if not self.path.exists():
            return ()
        with self._transaction() as connection:
            found = connection.execute("SELECT DISTINCT experiment FROM decisions ORDER BY experiment").fetchall()
        return tuple(str(record[0]) for record in found)

    def decision(self, name: str) -> DecisionRow | None:
        """Return the latest decision about experiment `name`, or None if it was never judged."""
        with self._transaction() as connection:
            return next(reversed(decisions_of(connection, name)), None)

    def stages_of(self, name: str) -> tuple[str, ...]:
        """Return the keys of the stages that the last judgement of experiment `name` stands on."""
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT stage_key FROM experiment_stages WHERE experiment = ?", [name]
            ).fetchall()
        return tuple(str(record[0]) for record in found)

    def evidence(self, name: str) -> Evidence | None:
        """Return all that the current declaration of experiment `name` stands on, or None if it was never judged."""
        with self._transaction() as connection:
            return evidence_of(connection, name)

    def states(self) -> dict[str, str]:
        """Return, for each experiment that has a decision, what identifies its evidence, in order of name."""
        names = self.experiments()
        with self._transaction() as connection:
            return {name: state_of(connection, name) for name in names}

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run a user's query; return column names and records.

        Raises:
            QueryFailed: If the query fails or would change something; the message carries the database's own words.
        """
        from duckdb import Error

        with reading(self.path) as connection:
            try:
                result = connection.execute(sql)
                names = [column[0] for column in result.description or []]
                records = result.fetchall() if names else []
            except Error as error:
                # Without the picture of the query that follows: front doors print errors on one line.
                words = " ".join(str(error).partition("\n\nLINE ")[0].split())
                raise QueryFailed(f'{words}; the tables: harness sql "SHOW TABLES"') from error
        return names, records

    # -- index ----------------------------------------------------------------------------------------------

    @property
    def index_path(self) -> Path:
        """A JSON list of the finished stages' keys, so that collecting need not open the database."""
        return self.path.with_suffix(".stages.json")

    def _write_index(self, connection: "DuckDBPyConnection") -> None:
        keys = [str(record[0]) for record in connection.execute("SELECT key FROM stages ORDER BY key").fetchall()]
        write_whole(self.index_path, json.dumps(keys))


def _insert_content(connection: "DuckDBPyConnection", rows: Sequence[StageContent]) -> None:
    for kind in _CONTENT:
        insert(connection, [row for row in rows if type(row) is kind])


def _insert_look(connection: "DuckDBPyConnection", look: LookRow) -> None:
    known = connection.execute(
        "SELECT 1 FROM looks "
        "WHERE holdout_key = ? AND experiment = ? AND system = ? AND stage_key = ? AND candidate = ?",
        [look.holdout_key, look.experiment, look.system, look.stage_key, look.candidate],
    ).fetchone()
    if known is None:
        insert(connection, [look])


def _replaced(judgement: Judgement) -> Iterable[tuple[type[Stored], Sequence[Stored]]]:
    yield ExperimentRow, [judgement.experiment]
    yield ExperimentStageRow, judgement.memberships
    yield SystemRow, judgement.systems
    yield SampleRow, judgement.samples
    yield ScoreRow, judgement.scores
    yield ComparisonRow, judgement.comparisons
    yield SystemMeanRow, judgement.system_means
    yield CheckRow, judgement.checks
    yield SliceRow, judgement.slices
    yield InsightRow, judgement.insights
    yield ContinualRow, judgement.continual


_DECIDED = attrgetter("verdict", "reason", "criteria_key", "statistics")


def _repeats_last(connection: "DuckDBPyConnection", decision: DecisionRow) -> bool:
    """A rerun that decides the same by the same rule and statistics on the same numbers is no new decision."""
    findings = json.loads(json.dumps(decision.findings))
    last = decisions_of(connection, decision.experiment)[-1:]
    return any(_DECIDED(one) == _DECIDED(decision) and one.findings == findings for one in last)
