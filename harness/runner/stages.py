"""Batches of an engine -> rows of a stage: kept as they come, finished with the last."""

import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import metadata

from harness.errors import HarnessError, StageFailed
from harness.runner.context import Run
from harness.store.rows import StageRow
from harness.store.store import StageContent
from harness.types.dotted_paths import missing_package
from harness.types.jobs import Stage

# A write opens the database anew, 20 to 100 ms: batches are gathered for so long, and for so many times what the last
# write took.
_SECONDS_BETWEEN_WRITES = 1.0
_WRITES_APART = 50


@dataclass(frozen=True)
class AnswerStream:
    """The work of one stage. total and done: units asked for, and those an earlier run has stored."""

    stage: Stage
    unit: str
    total: int
    done: int
    seconds_before: float
    tokens_before: tuple[int, int] = (0, 0)


def stream(
    run: Run,
    work: AnswerStream,
    batches: Iterable[tuple[Sequence[StageContent], int]],
    environment: Callable[[], object],
) -> None:
    """Store batches of (rows, units of work) as they come; the last are stored together with the stage row.

    Batches are gathered for a second or a few, so that writing takes 2 % of the time and a kill costs little work.
    """
    started, began = run.clock(), time.monotonic()
    tokens_in, tokens_out = work.tokens_before
    pending: list[StageContent] = []
    due = began + _SECONDS_BETWEEN_WRITES
    with (
        guarded(run, work.stage),
        run.progress.meter(work.stage.label, total=work.total, unit=work.unit, done=work.done) as meter,
    ):
        try:
            for rows, units in batches:
                if pending and (not rows or time.monotonic() > due):
                    writing = time.monotonic()
                    whole, pending = pending, []
                    run.store.append(whole)
                    written = time.monotonic()
                    due = written + max(_SECONDS_BETWEEN_WRITES, _WRITES_APART * (written - writing))
                pending += rows
                if units:  # rows that are no new work, such as the choices made, are counted already
                    tokens_in += sum(getattr(row, "tokens_in", 0) or getattr(row, "tokens", 0) for row in rows)
                    tokens_out += sum(getattr(row, "tokens_out", 0) for row in rows)
                meter.advance(units)
        except BaseException:
            # A fault, or Ctrl-C, costs nothing of what came before it: an answer may have been paid for.
            run.store.append(pending)
            raise
        seconds = work.seconds_before + time.monotonic() - began
        took = Took(started, seconds, (tokens_in, tokens_out))
        row = stage_row(run, work.stage, took, environment=environment())
        run.store.finish(row, rows=pending)


@dataclass(frozen=True)
class Took:
    """What a stage took, from when; tokens: in and out."""

    started: datetime
    seconds: float
    tokens: tuple[int, int] = (0, 0)


def stage_row(run: Run, stage: Stage, took: Took, *, environment: object, artifact: str | None = None) -> StageRow:
    """Return the row that makes `stage` finished."""
    return StageRow(
        key=stage.key,
        experiment=run.plan.name,
        kind=stage.kind,
        system=stage.system,
        split=stage.split.value if stage.split else None,
        seed=stage.seed,
        started_at=took.started,
        seconds=took.seconds,
        tokens_in=took.tokens[0],
        tokens_out=took.tokens[1],
        environment=environment,
        artifact=artifact,
    )


class guarded:  # noqa: N801 - reads as a with-clause
    """Around a stage: a fault that is not yet explained is re-raised as StageFailed with the way to resume."""

    def __init__(self, run: Run, stage: Stage) -> None:
        self._stage = stage
        self._experiment = run.plan.name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HarnessError) or not isinstance(error, Exception):
            return
        if isinstance(error, ModuleNotFoundError):
            raise missing_package(self._stage.label, error) from error
        raise StageFailed(
            f"{self._stage.label} stopped: {type(error).__name__}: {error}; what was finished is stored, "
            f"running experiments/{self._experiment}.py again resumes from there"
        ) from error


_version = cache(metadata.version)  # it reads a file


def machine() -> dict[str, str]:
    """Return what every stage records about where it ran."""
    return {
        "harness": _version("harness"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
