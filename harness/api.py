"""What every door does with an experiment: run it, draw it, hand back the outcome.

Warnings of other packages about each other, which the user of an experiment can do nothing about.

How the threads of one process wait for each other.

What a run would do: the plan against the index of finished stages. Opens no database and loads no model.
"""

import errno
import json
import os
import re
import runpy
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from filelock import FileLock

from harness.analysis.holdout_power import enough_evidence, grouping
from harness.errors import HarnessError, InvalidExperiment, StageFailed
from harness.experiment.criteria import Gain
from harness.experiment.experiment import Experiment, check_data
from harness.plan import Plan
from harness.plan.keys import Contents
from harness.report import PageSource, update_reports, write_reports
from harness.runner.context import SilentProgress, TerminalProgress, TextStream
from harness.runner.expected import expected_stages
from harness.runner.pipeline import Until
from harness.runner.run import Options, Outcome, check_paths, run_plan
from harness.runner.training import planned
from harness.store.names import check_name, claim_name_in_python
from harness.store.store import Store
from harness.types.jobs import System
from harness.types.protocols import CorpusMetric
from harness.types.samples import Split

# What a package says to those who call it: here the harness does, so it is for its authors to act on.
_TO_AUTHORS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning)
# Compiled modules are made by the import system, and warn in its name.
_IMPORT_SYSTEM = r"(importlib\._bootstrap|importlib\._bootstrap_external|sys)$"


@contextmanager
def without_foreign_warnings() -> Iterator[None]:
    """Ignore the warnings of installed packages for a while; those of the harness and of the user's code are shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=rf"({'|'.join(map(re.escape, _installed()))})(\.|$)")
        for kind in _TO_AUTHORS:
            warnings.filterwarnings("ignore", category=kind, module=r"harness(\.|$)")
            warnings.filterwarnings("ignore", category=kind, module=_IMPORT_SYSTEM)
        yield


def _installed() -> list[str]:
    """Return the names of the modules and packages that are installed beside this one."""
    found = {"torch"}
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        with suppress(OSError):
            found |= {path.name.partition(".")[0] for path in Path(folder).iterdir() if _importable(path)}
    return sorted(found - {"harness", ""})


def _importable(path: Path) -> bool:
    return path.suffix in (".py", ".so", ".pyd") or (path.is_dir() and path.name.isidentifier())


# Loops of OpenMP's waiting threads before they sleep, some tens of microseconds: longer than the gap between two
# operations of a network, and nothing beside the time slice that a busy neighbour would lose.
SPINS = 10_000


def wait_briefly() -> None:
    """Let threads spin for a moment while they wait, and then sleep, so that another process can use the core.

    Called by each door before torch is loaded, since its OpenMP reads the variables once. What the user has set stands.
    Sleeping at once (OMP_WAIT_POLICY=PASSIVE) is faster beside busy processes, and costs a sixth to a third of a
    training's speed if there are none: docs/log.md.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


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

    Examples:
        >>> outcome = harness.run(experiment, name="tickets", quiet=True)
        >>> outcome.name, outcome.verdict.value
        ('tickets', 'GO')
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
    options = Options(until=until, fresh=fresh, ignore_memory=ignore_memory)
    return run_and_report(
        experiment, name=known, store_path=path, stream=None if quiet else sys.stderr, options=options
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

    Examples:
        >>> [path.name for path in harness.report("tickets")]
        ['tickets.html']
    """
    kept = Store(Path(store))
    if not kept.path.exists():
        raise StageFailed(f"{kept.path} does not exist; run an experiment first, or name another with store=")
    known = kept.experiments()
    if experiment is not None and experiment not in known:
        raise InvalidExperiment(f"no experiment {experiment!r} in {kept.path}; it has {', '.join(known) or 'none'}")
    paths = draw_page(kept)
    return tuple(paths) if experiment is None else (kept.folder / f"{experiment}.html",)


def run_and_report(
    experiment: Experiment,
    *,
    name: str,
    store_path: Path,
    stream: TextStream | None = None,
    options: Options | None = None,
) -> Outcome:
    """Run `experiment` and draw its page, the index and verdicts.json beside the store.

    Args:
        experiment: The declaration.
        name: What it is called in the store.
        store_path: Where results are kept.
        stream: Where progress is shown; None shows none.
        options: How far to go, and what the experiment's file is.
    """
    wait_briefly()
    check_name(name)
    store = Store(store_path)
    progress = TerminalProgress(stream, prefix=name) if stream else SilentProgress()
    with _told(store), without_foreign_warnings():
        outcome = run_plan(experiment, name=name, store=store, progress=progress, options=options)
        draw_changed(store)
    return replace(outcome, page=store.folder / f"{name}.html")


def draw_page(store: Store) -> list[Path]:
    """Draw every stored experiment again; two processes that finish at once draw one after the other."""
    with _told(store), _drawing(store):
        found = (store.evidence(name) for name in store.experiments())
        return write_reports(store.folder, (evidence for evidence in found if evidence is not None))


def draw_changed(store: Store) -> list[Path]:
    """Draw what has changed since it was drawn, and the lists of all experiments."""
    with _drawing(store):
        sources = [PageSource(name, key, partial(store.evidence, name)) for name, key in store.states().items()]
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


def preview(experiment: Experiment, *, name: str, store_path: Path) -> Iterator[str]:
    """Yield the lines that describe the plan of one experiment."""
    index = store_path.with_suffix(".stages.json")
    try:
        stored = set(json.loads(index.read_text(encoding="utf-8"))) if store_path.exists() else set()
    except (OSError, ValueError, TypeError):
        stored = set()
    try:
        plan = Plan(experiment, name)
        stages = expected_stages(plan)
        for system in plan.tuned:
            plan.tune(system, experiment.seeds[0])
    except HarnessError as error:
        yield f"{name}: the plan cannot be made: {error}"
        return
    states = ["stored" if one.stage.key in stored else one.when or "to run" for one in stages]
    for sentence in too_small(experiment):
        yield f"{name}: {sentence}"
    open_ones = len(states) - states.count("stored") - states.count("to run")
    yield (
        f"{name}: {states.count('stored')} stages stored, {states.count('to run')} to run, {open_ones} that depend on "
        "what is found"
    )
    for system in plan.tuned:
        if plan.tune(system, experiment.seeds[0]).key not in stored:
            yield from (f"  {said}" for said in _estimated(plan, system, store_path.parent))
    for state, one in zip(states, stages, strict=True):
        yield f"  {state:<10}{one.stage.label}"


def _estimated(plan: Plan, system: System, folder: Path) -> Iterator[str]:
    """Yield what the training of one system would take, a sentence for each step."""
    try:
        for found in planned(plan, system, folder=folder):
            yield found.sentence if found.fits else f"{found.sentence}: does not fit"
    except HarnessError as error:
        yield f"{system.name}: its memory cannot be estimated: {error}"


def too_small(experiment: Experiment) -> Iterator[str]:
    """Yield a sentence for each gain that is asked for and that the holdout is too small to show.

    Said before anything is computed, so that it stands on an assumption: half of the answers right.
    """
    holdout = experiment.task.samples(Split.HOLDOUT)
    clusters = Contents().clusters(experiment.task, Split.HOLDOUT)
    groups = grouping([clusters[sample.id] for sample in holdout])
    if all(sample.group is None for sample in holdout if clusters[sample.id] is not None):
        groups = replace(groups, alike=1.0)  # equal inputs are answered alike
    for rule in experiment.go_if:
        if isinstance(rule, Gain) and rule.at_least > 0 and not isinstance(rule.metric, CorpusMetric):
            found = enough_evidence(len(holdout), rule.at_least, rule.metric, groups=groups)
            if found is not None and not found.enough:
                yield found.sentence


def load_experiment(path: Path) -> Experiment:
    """Return the `experiment` of a file.

    Raises:
        InvalidExperiment: If there is none, or the file cannot be run; the message names the file.
    """
    if not path.is_file():
        raise InvalidExperiment(f"{path} does not exist; name an experiment file, such as experiments/home_commands.py")
    # Experiment files import from the folder that they are run in, their own and their project's, as pytest lets them.
    near = path.resolve().parents
    root = next((folder for folder in near if (folder / "pyproject.toml").is_file()), near[0])
    folders = [str(Path.cwd()), str(near[0]), str(root)]
    sys.path[:0] = folders
    try:
        found = runpy.run_path(str(path)).get("experiment")
    except HarnessError as error:
        raise InvalidExperiment(f"{path}: {error}") from error
    except SyntaxError as error:
        raise InvalidExperiment(f"{path}, line {error.lineno}: {error.msg}; mend it, Python cannot read it") from error
    except SystemExit as error:
        raise InvalidExperiment(
            f"{path} ends Python when it is imported (sys.exit({error.code!r})); put what runs under "
            '`if __name__ == "__main__":`'
        ) from error
    except Exception as error:  # the user's own code, in its own words
        raise InvalidExperiment(
            f"{path} raised {type(error).__name__} when it was imported: {error}; `python {path}` shows where"
        ) from error
    finally:
        for folder in folders:
            sys.path.remove(folder)
    if not isinstance(found, Experiment):
        raise InvalidExperiment(f"{path} assigns no `experiment`; write experiment = Experiment(...)")
    return found
