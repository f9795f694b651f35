"""What every stage is handed: the plan, the store, where progress goes, the engines that are open.

Batches of an engine -> rows of a stage: kept as they come, finished with the last.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import HarnessError, StageFailed
from harness.inference.models.rendering import thought_apart
from harness.plan import Plan
from harness.store.rows import StageRow
from harness.store.store import StageContent, Store
from harness.types.dotted_paths import missing_package, resolve
from harness.types.jobs import Stage
from harness.types.protocols import AnyModel, Bindable, Engine, Progress, Prompter, Strategy, Task
from harness.types.samples import Sample, Split


def utc_now() -> datetime:
    """Return the time as the store keeps it: UTC, without zone."""
    return datetime.now(UTC).replace(tzinfo=None)


class Engines:
    """The models that are open. Opened on first use, so that a run with nothing to compute loads nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[str, Engine] = {}

    def open(self, key: str, model: AnyModel, adapter: Path | None) -> Engine:
        """Return the engine of `model` (identified by `key`), answering with `adapter` or as the base model."""
        if key not in self._open:
            self._open[key] = resolve(model.engine)(model, progress=self._progress)
        engine = self._open[key]
        engine.use(adapter)
        return engine

    def is_open(self, key: str) -> bool:
        """Tell whether a model is loaded."""
        return key in self._open

    def close(self) -> None:
        """Free what is open: training wants the memory."""
        while self._open:
            self._open.popitem()[1].close()


@dataclass(frozen=True)
class Run:
    """One execution of one plan. ignore_memory: train also what seems not to fit."""

    plan: Plan
    store: Store
    progress: Progress
    engines: Engines
    clock: Callable[[], datetime] = utc_now
    ignore_memory: bool = False

    def samples(self, task: Task, split: Split) -> tuple[Sample, ...]:
        """Return the split's samples with `expected` filled in by the task's own reader, and with their clusters."""
        clusters = self.plan.contents.clusters(task, split)
        return tuple(
            replace(
                sample,
                expected=_expected(task, sample) if sample.expected is None else sample.expected,
                cluster=clusters[sample.id],
            )
            for sample in task.samples(split)
        )

    def artifact(self, stage: Stage) -> Path:
        """Return the folder in which a tune stage works and leaves its result."""
        return self.store.folder / "artifacts" / stage.key[:16]

    @contextmanager
    def lock(self, stage: Stage) -> Iterator[None]:
        """Keep other processes off this stage. Callers check the store, lock, and check again."""
        folder = self.store.folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{stage.key[:32]}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.progress.say(f"waiting: another process works on {stage.label}")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _expected(task: Task, sample: Sample) -> object:
    """Return the value of the reference, which is read as an answer is: without what it thinks aloud."""
    return read_value(task, thought_apart(sample.reference, prompt="").text, sample)


def read_value(task: Task, text: str, sample: Sample) -> object:
    """Return `task.read(text)`; raises StageFailed naming the task and sample if the reader itself fails."""
    try:
        return task.read(text)
    except Exception as error:
        raise StageFailed(
            f"task {task.name!r}: read() raised {type(error).__name__}: {error} on sample {sample.id!r}, "
            f"text {text[:80]!r}; a text that cannot be read is None, not an exception"
        ) from error


def bound(strategy: Strategy, task: Task) -> Prompter:
    """Return the strategy's prompter for this task, prepared once where the strategy can."""
    return strategy.bind(task) if isinstance(strategy, Bindable) else partial(strategy.messages, task)


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
        spent = Spent(started, seconds, tokens_in, tokens_out)
        run.store.finish(stage_row(run, work.stage, spent, environment()), rows=pending)


@dataclass(frozen=True, slots=True)
class Spent:
    """What the work of a stage took. started: by the calendar."""

    started: datetime
    seconds: float
    tokens_in: int = 0
    tokens_out: int = 0


def stage_row(run: Run, stage: Stage, spent: Spent, environment: object, *, artifact: str | None = None) -> StageRow:
    """Return the row that makes `stage` finished."""
    return StageRow(
        key=stage.key,
        experiment=run.plan.name,
        kind=stage.kind,
        system=stage.system,
        split=stage.split.value if stage.split else None,
        seed=stage.seed,
        started_at=spent.started,
        seconds=spent.seconds,
        tokens_in=spent.tokens_in,
        tokens_out=spent.tokens_out,
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
