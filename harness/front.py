"""What every door does with an experiment: run it, draw it, hand back the outcome."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from harness.errors import InvalidExperiment, StageFailed
from harness.experiment import Experiment, check_data
from harness.foreign_warnings import without_foreign_warnings
from harness.plan import Plan
from harness.report import Source, update_reports, write_reports
from harness.runner.gathering import Until
from harness.runner.progress import SilentProgress, Stream, TerminalProgress
from harness.runner.run import Options, Outcome, check_paths
from harness.runner.run import run as run_stages
from harness.store.names import check_name, claim_name_in_python
from harness.store.store import Store
from harness.threads import wait_briefly

DEFAULT_STORE = "reports/results.duckdb"
# What the place where something is written can be wrong with. Other errors of the system are somebody's code.
_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


def run(
    experiment: Experiment,
    *,
    name: str | None = None,
    store: str | Path = DEFAULT_STORE,
    until: Until | None = None,
    fresh: bool = False,
    ignore_memory: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Run an experiment from Python, in a notebook or a script, as `pytest` runs a file.

    Args:
        experiment: The declaration.
        name: What it is called in the store, on its page and in the commands; without it, as its task.
        store: Where results are kept; the pages are written beside it.
        until: Stop after the baselines ("baseline") or after tuning ("tuning").
        fresh: Forget what is stored of this experiment, and measure anew.
        ignore_memory: Train also what by its estimate does not fit the free memory.
        quiet: Show no progress.

    Returns:
        The outcome: `verdict`, `reason`, `name`, and `page`, the path of the page. A negative verdict raises nothing.

    Raises:
        InvalidExperiment: If the declaration cannot be judged, or another experiment of the store has this name.
        StageFailed: If a stage stops. Running again resumes.

    Example:
        outcome = harness.run(experiment, name="tickets")
        print(outcome.verdict, outcome.reason)
    """
    if not isinstance(experiment, Experiment):
        raise InvalidExperiment(
            f"harness.run takes an Experiment, not {type(experiment).__name__}; write harness.run(Experiment(...))"
        )
    path = Path(store)
    check_runnable(experiment)
    known = claim_name_in_python(
        path, str(experiment.task.name) if name is None else name, question=experiment.question, chosen=name is not None
    )
    return run_and_report(
        experiment,
        name=known,
        file=None,
        store_path=path,
        stream=None if quiet else sys.stderr,
        until=until,
        fresh=fresh,
        ignore_memory=ignore_memory,
    )


def check_runnable(experiment: Experiment) -> None:
    """Refuse what cannot run before anything is stored.

    Raises:
        InvalidExperiment: If it cannot be judged on its data, or names an engine, trainer or metric that is not there.
    """
    check_data(experiment)
    check_paths(Plan(experiment, ""))


def report(experiment: str | None = None, *, store: str | Path = DEFAULT_STORE) -> tuple[Path, ...]:
    """Draw the pages again from the store.

    Args:
        experiment: Return the path of this experiment's page only.
        store: Where results are kept.

    Returns:
        The paths of the pages, the index, verdicts.json and summary.md.

    Raises:
        StageFailed: If there is no such store.
        InvalidExperiment: If the store has no such experiment.
    """
    kept = Store(Path(store))
    if not kept.path.exists():
        raise StageFailed(f"{kept.path} does not exist; run an experiment first, or name another with store=")
    known = kept.experiments()
    if experiment is not None and experiment not in known:
        raise InvalidExperiment(f"no experiment {experiment!r} in {kept.path}; it has {', '.join(known) or 'none'}")
    paths = draw(kept)
    return tuple(paths) if experiment is None else (kept.folder / f"{experiment}.html",)


def run_and_report(
    experiment: Experiment,
    *,
    name: str,
    file: Path | None,
    store_path: Path,
    shown: Path | None = None,
    stream: Stream | None = None,
    known_negative: bool = False,
    until: Until | None = None,
    fresh: bool = False,
    ignore_memory: bool = False,
) -> Outcome:
    """Run `experiment` and draw its page, the index and verdicts.json beside the store.

    shown: `file` as the report names it, such as its path from the root folder.
    """
    wait_briefly()
    check_name(name)
    store = Store(store_path)
    progress = TerminalProgress(stream, prefix=name) if stream else SilentProgress()
    options = Options(
        file=file,
        shown=shown,
        known_negative=known_negative,
        until=until,
        fresh=fresh,
        ignore_memory=ignore_memory,
    )
    with _told(store), without_foreign_warnings():
        outcome = run_stages(experiment, name=name, store=store, progress=progress, options=options)
        draw_changed(store)
    return replace(outcome, page=store.folder / f"{name}.html")


def draw(store: Store) -> list[Path]:
    """Draw every stored experiment again; two processes that finish at once draw one after the other."""
    with _told(store), _drawing(store):
        found = (store.evidence(name) for name in store.experiments())
        return write_reports(store.folder, (evidence for evidence in found if evidence is not None))


def draw_changed(store: Store) -> list[Path]:
    """Draw what has changed since it was drawn, and the lists of all experiments."""
    with _drawing(store):
        sources = [Source(name, key, lambda name=name: store.evidence(name)) for name, key in store.states().items()]  # type: ignore[misc]
        return update_reports(store.folder, sources)


@contextmanager
def _drawing(store: Store) -> Iterator[None]:
    folder = store.folder / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "report.lock"):
        yield


@contextmanager
def _told(store: Store) -> Iterator[None]:
    """Say in one line what is wrong with the place where something was to be written."""
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str | bytes) else ""
        ours = bool(named) and Path(os.fsdecode(named)).is_relative_to(store.folder)
        if error.errno not in _PLACE and not ours:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise StageFailed(
            f"{where}{error.strerror}; everything that was finished is stored: make room or make the place writable, "
            "and run again, the run resumes where it stopped"
        ) from error
