"""`pytest experiments/`: one item for each experiment; evidence in its setup, the verdict in its call.

pytest loads this module in every project of an environment in which the harness is installed: it imports nothing of
the harness that takes time before there is an experiment.
"""

import sys
import unicodedata
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from harness.api import wait_briefly
from harness.errors import HarnessError, Inconclusive, InvalidEvidence, NoGo
from harness.pytest_options import add_options, add_short_names, has_short_name, option, spelled_out

if TYPE_CHECKING:
    from harness.experiment.experiment import Experiment
    from harness.runner.run import Outcome


# What an item's report carries for the closing lines; JUnit is told more.
_PROPERTIES = ("experiment", "verdict", "reason")
# Of more experiments than these, the closing lines say the verdict only.
_MOST_TOLD = 3
# Of more files than these, their number is said.
_MOST_NAMED = 5
_FOLDERS = "harness_experiments"
_SAID = "harness_said"


class _Session:
    """What one session has seen.

    Attributes:
        files: The files that hold an experiment.
        made: Files that pytest's own collector has handed to the harness.
        empty: Files of experiments folders without an experiment.
        unshown: Files that assign `experiment`, and that nothing says to be the harness's.
        folders: Folders that experiment files were imported from.
    """

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.made: set[Path] = set()
        self.empty: list[Path] = []
        self.unshown: list[Path] = []
        self.folders: set[Path] = set()


_SESSION = pytest.StashKey[_Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)
    parser.addini(
        _FOLDERS,
        "folders whose files are experiments: a name is any folder called so, a path is from the root folder",
        type="args",
        default=["experiments"],
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Add the short names of the options, once everybody else has taken theirs: a name that is taken stays theirs."""
    if has_short_name(args):
        # Until then pytest takes the value of a short name for a path to look for conftest files in.
        known = parser.parse_known_args([spelled_out(argument) for argument in args])
        early_config.known_args_namespace.file_or_dir = known.file_or_dir
    yield
    add_short_names(parser)


def pytest_configure(config: pytest.Config) -> None:
    if option(config, "executor") == "ray":
        raise pytest.UsageError("--executor ray is not available yet; use --executor local")
    config.addinivalue_line("markers", "long: an experiment that runs only when its file or `-m long` asks for it")
    config.stash[_SESSION] = _Session()


@pytest.hookimpl(trylast=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ExperimentFile | None":
    """Collect the experiment files of a folder. Files that pytest collects by itself come by the hook below."""
    made = parent.config.stash[_SESSION].made
    if file_path in made:
        made.discard(file_path)
        return None
    if parent.session.isinitpath(file_path):
        return None
    return _collected(file_path, parent)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> "ExperimentFile | None":
    """Give the right class to a file that pytest's own collector takes: named on the command line, or by a pattern."""
    found = _collected(module_path, parent)
    if found is not None:
        parent.config.stash[_SESSION].made.add(module_path)
    return found


def _collected(path: Path, parent: pytest.Collector) -> "ExperimentFile | None":
    """Return the collector of a file that is an experiment's, as far as its text and its place tell."""
    from harness.experiment.discovery import is_candidate, read_text

    if not is_candidate(path):
        return None
    config, seen = parent.config, parent.config.stash[_SESSION]
    named, ours = parent.session.isinitpath(path), _in_experiments_folder(path, config)
    try:
        text = read_text(path)
    except OSError:
        return ExperimentFile.from_parent(parent, path=path) if ours or named else None
    if text.declares or ((ours or named) and text.assigns and text.shows_harness(_roots(config))):
        return ExperimentFile.from_parent(parent, path=path)
    if not (ours or b"harness" in text.source):
        return None
    if text.assigns:
        if _folders_are_chosen(config) and ours:
            return ExperimentFile.from_parent(parent, path=path)
        seen.unshown.append(path)
    elif ours:
        seen.empty.append(path)
    return None


def _in_experiments_folder(path: Path, config: pytest.Config) -> bool:
    """Tell whether a file lies in a folder of the ini option: of this name, or at this path from the root folder."""
    if not path.is_relative_to(config.rootpath):
        folders: tuple[str, ...] = path.parent.parts[-1:]
    else:
        folders = (config.rootpath.name, *path.parent.relative_to(config.rootpath).parts)
    for folder in map(PurePath, config.getini(_FOLDERS)):
        if len(folder.parts) == 1 and folder.name in folders:
            return True
        if path.is_relative_to(config.rootpath / folder):
            return True
    return False


def _folders_are_chosen(config: pytest.Config) -> bool:
    return list(config.getini(_FOLDERS)) != ["experiments"]


def _roots(config: pytest.Config) -> list[Path]:
    """Return the folders that the project's own modules are imported from."""
    root = config.rootpath
    return [root, root / "src", *(path for path in map(Path, sys.path) if path != root and path.is_relative_to(root))]


class ExperimentFile(pytest.Module):
    """A file with one `experiment`. A Module, so that `pytestmark` means what it means in pytest."""

    def collect(self) -> "Iterable[pytest.Item | pytest.Collector]":
        from harness.api import without_foreign_warnings

        wait_briefly()  # the file itself may load torch
        try:
            with without_foreign_warnings():
                yield from self._experiments()
        except SystemExit as error:
            raise self.CollectError(
                f"{_shown(self.config, self.path)} ends Python when it is imported (sys.exit({error.code!r})); an "
                'experiment file only declares: put what runs under `if __name__ == "__main__":`'
            ) from error
        except HarnessError as error:
            raise self.CollectError(f"{_shown(self.config, self.path)}: {error}") from error

    def _experiments(self) -> "Iterator[pytest.Item | pytest.Collector]":
        from harness.experiment.experiment import Experiment, check_data

        found = getattr(self.obj, "experiment", None)
        if isinstance(found, Experiment):
            check_data(found)
            self.config.stash[_SESSION].files.append(self.path)
            yield ExperimentItem.from_parent(self, name="experiment", experiment=found)
        elif not _in_experiments_folder(self.path, self.config):
            yield from super().collect()  # named on the command line: it may hold tests
        elif found is None:
            self.config.stash[_SESSION].empty.append(self.path)
        else:
            raise self.CollectError(
                f"{_shown(self.config, self.path)}: `experiment` is {_described(found)}, not an Experiment; write "
                "experiment = Experiment(...), or give it another name"
            )

    def _getobj(self) -> Any:
        """Import the file; in pytest's default mode a second file of one name would be refused, or be the first."""
        from _pytest.pathlib import ImportPathMismatchError, import_path

        _forget_namesakes(self.path, self.config)
        try:
            return super()._getobj()  # type: ignore[no-untyped-call]
        except self.CollectError as error:
            if not isinstance(error.__cause__, ImportPathMismatchError):
                raise
        sys.path.insert(0, str(self.path.parent))  # as the default mode does
        return import_path(self.path, mode="importlib", root=self.config.rootpath, consider_namespace_packages=False)


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _forget_namesakes(path: Path, config: pytest.Config) -> None:
    """Forget what lies beside other experiment files under a name that lies beside this one too.

    In the modes that put a file's folder on the path, a helper that is imported by name alone would be its neighbour's.
    """
    seen = config.stash[_SESSION].folders
    seen.add(path.parent)
    if config.getoption("importmode") == "importlib":
        return
    for name in {entry.stem for entry in path.parent.glob("*.py") if entry != path} - {"conftest", "__init__"}:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and Path(file).parent in seen - {path.parent}:
            del sys.modules[name]
            sys.path[:] = [str(path.parent), *(entry for entry in sys.path if entry != str(path.parent))]


class ExperimentItem(pytest.Item):
    """One experiment: `experiments/home_commands.py::experiment`."""

    def __init__(self, *, experiment: "Experiment", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experiment = experiment
        self.outcome: Outcome | None = None
        self._claimed: str | None = None

    @property
    def experiment_name(self) -> str:
        """What the experiment is called in the store; before it is there, what it will be called."""
        from harness.store.names import expected_name

        return self._claimed or expected_name(self.store_path, self.path, others=self._namesakes())

    @property
    def store_path(self) -> Path:
        return self.config.rootpath / str(option(self.config, "store"))

    @property
    def known_negative(self) -> bool:
        marker = self.get_closest_marker("xfail")
        raises = marker.kwargs.get("raises", ()) if marker else ()
        kinds = raises if isinstance(raises, tuple) else (raises,)
        return NoGo in kinds and Inconclusive not in kinds

    def setup(self) -> None:
        """Gather the evidence. A fault, or evidence that cannot be trusted, ends here: an error, not a failure."""
        # Imported here: collecting must not load duckdb, and only a run needs it.
        from harness.api import check_runnable, run_and_report
        from harness.runner.run import Options
        from harness.store.names import claim_name

        check_runnable(self.experiment)
        question, others = self.experiment.question, self._namesakes()
        self._claimed = claim_name(self.store_path, self.path, shown=self._file, question=question, others=others)
        self.outcome = run_and_report(
            self.experiment,
            name=self._claimed,
            store_path=self.store_path,
            stream=self._stream(),
            options=Options(
                file=self.path,
                shown=self._file,
                known_negative=self.known_negative,
                until=option(self.config, "until"),
                fresh=bool(option(self.config, "fresh")),
                ignore_memory=bool(option(self.config, "ignore-memory")),
            ),
        )
        decision = self.outcome.decision
        self.user_properties += self._properties()
        if decision.verdict.value == "INVALID":
            raise InvalidEvidence(f"INVALID: {decision.reason}")

    def runtest(self) -> None:
        """Give the verdict."""
        assert self.outcome is not None
        if not self.outcome.complete:
            pytest.skip(f"stopped after {option(self.config, 'until')}, as asked: no verdict")
        decision = self.outcome.decision
        if decision.verdict.value == "GO":
            return
        if option(self.config, "verdict") == "report" and self.get_closest_marker("xfail") is None:
            # Only now: a mark that is there from the start would show GO as an unexpected pass.
            self.add_marker(pytest.mark.xfail(raises=(NoGo, Inconclusive), reason="--verdict=report"))
        if decision.verdict.value == "NO_GO":
            raise NoGo(decision.reason)
        raise Inconclusive(decision.reason)

    def explain(self, error: BaseException) -> str | None:
        """Verdicts are three lines; a user's mistake is its message; anything else keeps its traceback."""
        if isinstance(error, NoGo | Inconclusive):
            verdict = "NO_GO" if isinstance(error, NoGo) else "INCONCLUSIVE"
            return f"{verdict}  {self.experiment.question}\n{error}\nreport: {self._report}"
        return str(error) if isinstance(error, HarnessError) else None

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"experiment {self.experiment_name}"

    def _namesakes(self) -> list[Path]:
        """Return the other experiment files of this session that have the same name."""
        files = self.config.stash[_SESSION].files
        return [path for path in files if path != self.path and _folded(path.stem) == _folded(self.path.stem)]

    def _stream(self) -> "UncapturedStream | None":
        stream = _terminal(self.config)
        if stream is not None:
            stream.write("\n")  # pytest has begun a line with the item's name
        return stream

    @property
    def _file(self) -> Path:
        return (
            self.path.relative_to(self.config.rootpath) if self.path.is_relative_to(self.config.rootpath) else self.path
        )

    def _properties(self) -> list[tuple[str, object]]:
        """Return what JUnit is told, as the report beside the store has it."""
        from harness.report import stored_entry
        from harness.report.brief import properties

        entry = stored_entry(self.store_path.parent, self.experiment_name)
        assert entry is not None
        return list(properties(entry, page=str(_shown(self.config, self._report))))

    @property
    def _report(self) -> Path:
        return self.store_path.parent / f"{self.experiment_name}.html"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if isinstance(item, ExperimentItem) and call.excinfo is not None and report.failed:
        report.longrepr = item.explain(call.excinfo.value) or report.longrepr
    return report


class UncapturedStream:
    """The terminal, also while pytest captures what runs: long work must be seen without -s."""

    def __init__(self, config: pytest.Config, file: TextIO) -> None:
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._file = file

    def write(self, text: str) -> int:
        with self._uncaptured():
            try:
                written = self._file.write(text)
            except UnicodeEncodeError:  # a terminal that cannot write a character is shown its number
                encoding = self._file.encoding or "ascii"
                written = self._file.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._file.flush()
        return written

    def flush(self) -> None:
        """Every write is flushed at once."""

    def isatty(self) -> bool:
        # While pytest captures, descriptor 1 is a file: only behind the capture is it the terminal.
        with self._uncaptured():
            return self._file.isatty()

    def _uncaptured(self) -> AbstractContextManager[None]:
        return self._capture.global_and_fixture_disabled() if self._capture else nullcontext()


def _terminal(config: pytest.Config) -> UncapturedStream | None:
    """Return the terminal's stream; None in an xdist worker, which has none."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return UncapturedStream(config, reporter._tw._file) if reporter else None


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out experiments marked `long`, unless the file is named on the command line or -m is given."""
    if config.option.markexpr:
        return
    left = [item for item in items if item.get_closest_marker("long") and isinstance(item, ExperimentItem)]
    left = [item for item in left if not session.isinitpath(item.path)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        names = ", ".join(str(_shown(config, item.path)) for item in left)
        if reporter:
            reporter.write_line(f"long experiments are left out: {names} (name the file, or give -m long)")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say what is odd about files and names; with --collect-only, what is stored and would run."""
    items = [item for item in session.items if isinstance(item, ExperimentItem)]
    lines = [*_odd_files(session, items), *(line for item in items for line in _foretold(item))]
    # A file's name may hold bytes that are no text.
    lines = [line.encode("utf-8", "backslashreplace").decode("utf-8") for line in lines]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(session.config, "workeroutput"):  # a worker's terminal is nobody's
        session.config.workeroutput[_SAID] = lines
    elif reporter is not None:
        for line in lines:
            reporter.write_line(line)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep what a worker of pytest-xdist had to say about the files: it has no terminal."""
    said = node.config.stash.setdefault(_WORKERS_SAID, [])
    said += [line for line in getattr(node, "workeroutput", {}).get(_SAID, ()) if line not in said]


_WORKERS_SAID = pytest.StashKey[list[str]]()


def _odd_files(session: pytest.Session, items: "list[ExperimentItem]") -> Iterator[str]:
    """Yield a line for files that were looked at in vain, if someone means to use the harness."""
    config, seen = session.config, session.config.stash[_SESSION]
    named = [(config.invocation_params.dir / arg.partition("::")[0]).resolve() for arg in config.args]
    unshown, empty = (
        [path for path in paths if any(path.resolve().is_relative_to(place) for place in named)]
        for paths in (seen.unshown, [path for path in seen.empty if not path.name.startswith("_")])
    )
    asked = any(place != config.rootpath.resolve() for place in named)
    if not (items or asked or _folders_are_chosen(config)):
        return
    if unshown:
        yield (
            f"harness: {_names(config, unshown)}: `experiment` is assigned, but nothing in reach shows that it is "
            "the harness's, so it was not imported; write experiment = Experiment(...) with `from harness import "
            f"Experiment`, or name its folder in the ini option {_FOLDERS}"
        )
    if empty:
        yield f"harness: {_names(config, empty)}: no `experiment` is defined there, so nothing is measured"


def _names(config: pytest.Config, paths: list[Path]) -> str:
    shown = [str(_shown(config, path)) for path in dict.fromkeys(paths)]
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return f"{', '.join(shown[:_MOST_NAMED])}{more}"


def _foretold(item: "ExperimentItem") -> Iterator[str]:
    from harness.api import preview, too_small

    name = item.experiment_name
    if name != item.path.stem:
        yield f"{_shown(item.config, item.path)} is called {name}: another page has the name of its file"
    if item.config.option.collectonly:
        yield from preview(item.experiment, name=name, store_path=item.store_path)
    else:
        yield from (f"{name}: {sentence}" for sentence in too_small(item.experiment))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """End with each experiment's verdict and why; with what to do, gain and cost too if they are few."""
    for line in terminalreporter.config.stash.get(_WORKERS_SAID, []):
        terminalreporter.write_line(line)
    told = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            properties = dict(getattr(report, "user_properties", ()))
            if properties.keys() >= set(_PROPERTIES):
                told.append(tuple(properties[name] for name in _PROPERTIES))
    if told:
        from harness.report import stored_entry
        from harness.report.brief import terminal_lines

        terminalreporter.ensure_newline()
        terminalreporter.section("verdicts")
        config, told = terminalreporter.config, list(dict.fromkeys(told))
        folder = config.rootpath / Path(option(config, "store")).parent
        for name, verdict, reason in told:
            entry = stored_entry(folder, name) if len(told) <= _MOST_TOLD else None
            page = str(_shown(config, folder / f"{name}.html"))
            for line in terminal_lines(entry, page=page) if entry else [f"{verdict:<13} {name}: {reason}"]:
                terminalreporter.write_line(line)
        terminalreporter.write_line(f"report: {_shown(config, folder / 'index.html')}")
        sys.stdout.flush()


def _shown(config: pytest.Config, path: Path) -> Path:
    """Return `path` as it can be typed where pytest was called."""
    folder = config.invocation_params.dir
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def _folded(name: str) -> str:
    """Two names that some file system takes for one are one."""
    return unicodedata.normalize("NFC", name).casefold()
