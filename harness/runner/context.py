"""What every stage is handed: the plan, the store, where progress goes, the engines that are open.

Batches of an engine -> rows of a stage: kept as they come, finished with the last.

Progress: a live line with a rate and an estimate of the time left.
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
from typing import Protocol

from filelock import FileLock, Timeout
from tqdm import tqdm

from harness.errors import HarnessError, StageFailed
from harness.inference.models.rendering import thought_apart
from harness.plan import Plan
from harness.store.rows import StageRow
from harness.store.store import StageContent, Store
from harness.types.dotted_paths import missing_package, resolve
from harness.types.jobs import Stage
from harness.types.protocols import AnyModel, Bindable, Engine, Meter, Progress, Prompter, Strategy, Task
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


_SECONDS_BETWEEN_LINES = 15.0


class TextStream(Protocol):
    """Where progress is written."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


class TerminalProgress:
    """Progress on a stream: a live line on a terminal; elsewhere, as in a log, a line now and then."""

    def __init__(self, stream: TextStream, *, prefix: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._prefix = f"{prefix}: " if prefix else ""
        self._clock = clock

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator[Meter]:
        name = f"{self._prefix}{label}"
        if not self._stream.isatty():
            log = _LogMeter(partial(self._write, name), total=total, unit=unit, done=done, clock=self._clock)
            yield log
            log.finish()
            return
        bar = tqdm(
            desc=name, total=total, initial=done, unit=f" {unit}", file=self._stream, leave=True, dynamic_ncols=True
        )
        with bar:
            yield _BarMeter(bar)

    def _write(self, name: str, line: str) -> None:
        self._stream.write(f"{name}: {line}\n")
        self._stream.flush()

    def say(self, line: str) -> None:
        tqdm.write(f"{self._prefix}{line}", file=self._stream)
        self._stream.flush()


class _Bar(Protocol):
    def update(self, amount: int) -> object: ...
    def set_postfix_str(self, text: str, refresh: bool) -> object: ...


class _BarMeter:
    """A live line, drawn by tqdm."""

    def __init__(self, bar: _Bar) -> None:
        self._bar = bar

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)


class _LogMeter:
    """Whole lines: one every 15 seconds, and one at the end."""

    def __init__(
        self, write: Callable[[str], None], *, total: int, unit: str, done: int, clock: Callable[[], float]
    ) -> None:
        self._write, self._unit, self._clock = write, unit, clock
        self._total, self._before, self._done = total, done, done
        self._note = ""
        self._began = self._written = clock()

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        if self._clock() - self._written >= _SECONDS_BETWEEN_LINES:
            self._line(f"about {_duration(self._left())} left")

    def finish(self) -> None:
        """Say how long it took."""
        self._line("done")

    def _left(self) -> float:
        seconds = self._clock() - self._began
        return (self._total - self._done) * seconds / max(1, self._done - self._before)

    def _line(self, ending: str) -> None:
        self._written = self._clock()
        seconds = self._written - self._began
        rate = (self._done - self._before) / seconds if seconds > 0 else 0.0
        parts = [
            f"{self._done}/{self._total} {self._unit}",
            _duration(seconds),
            f"{_number(rate)} {self._unit}/s",
            ending,
        ]
        if self._note:
            parts.append(self._note)
        self._write(", ".join(parts))


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class SilentMeter:
    """A meter nobody looks at."""

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Take the news and show nothing."""


class SilentProgress:
    """Progress nobody looks at."""

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator[SilentMeter]:
        yield SilentMeter()

    def say(self, line: str) -> None:
        """Take the news and show nothing."""
