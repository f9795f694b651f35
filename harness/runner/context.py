"""What every stage is handed: the plan, the store, where progress goes, the engines that are open."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import StageFailed
from harness.inference.models.rendering import thought_apart
from harness.plan import Plan
from harness.store.store import Store
from harness.types.dotted_paths import resolve
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
