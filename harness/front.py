"""What both front doors do with an experiment: run it, draw it, hand back the outcome."""

from pathlib import Path

from filelock import FileLock

from harness.experiment import Experiment
from harness.report import write_reports
from harness.runner.gathering import Until
from harness.runner.progress import SilentProgress, Stream, TerminalProgress
from harness.runner.run import Options, Outcome, run
from harness.store.store import Store
from harness.threads import wait_passively


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
    wait_passively()
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
    outcome = run(experiment, name=name, store=store, progress=progress, options=options)
    draw(store)
    return outcome


def draw(store: Store) -> list[Path]:
    """Draw every stored experiment again; two processes that finish at once draw one after the other."""
    with FileLock(store.folder / ".locks" / "report.lock"):
        found = (store.evidence(name) for name in store.experiments())
        return write_reports(store.folder, (evidence for evidence in found if evidence is not None))
