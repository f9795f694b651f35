"""`pytest experiments/`: one item an experiment; evidence in its setup, the verdict in its call."""

import ast
import re
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from harness.errors import HarnessError, InvalidEvidence
from harness.experiment import Experiment, check_data
from harness.threads import wait_passively
from harness.verdicts import Inconclusive, NoGo

if TYPE_CHECKING:
    from harness.runner.run import Outcome

# What an item's report carries for the closing lines; JUnit is told more.
_PROPERTIES = ("experiment", "verdict", "reason")
# Of more experiments than these, the closing lines say the verdict only.
_MOST_TOLD = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("harness", "experiments that end in a verdict")
    group.addoption(
        "--verdict",
        choices=("gate", "report"),
        default="gate",
        help="gate: NO_GO and INCONCLUSIVE fail (default); report: they are shown as expected failures",
    )
    group.addoption("--until", choices=("baseline", "tuning"), help="stop after the baselines, or after tuning")
    group.addoption(
        "--fresh", action="store_true", help="forget what is stored of the chosen experiments, measure anew"
    )
    group.addoption(
        "--ignore-memory", action="store_true", help="train also what by its estimate does not fit the free memory"
    )
    group.addoption("--store", default="reports/results.duckdb", metavar="PATH", help="where results are kept")
    group.addoption(
        "--executor", choices=("local", "ray"), default="local", help="where stages run; ray is not available yet"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--executor") == "ray":
        raise pytest.UsageError("--executor ray is not available yet; use --executor local")
    config.addinivalue_line("markers", "long: an experiment that runs only when its file or `-m long` asks for it")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ExperimentFile | None":
    """Collect the experiment files of a folder. A file named on the command line comes by the hook below."""
    if parent.session.isinitpath(file_path) or not _declares_experiment(file_path):
        return None
    return ExperimentFile.from_parent(parent, path=file_path)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> "ExperimentFile | None":
    """A file named on the command line reaches pytest's own collector first: give it the right class."""
    return ExperimentFile.from_parent(parent, path=module_path) if _declares_experiment(module_path) else None


def _declares_experiment(path: Path) -> bool:
    """True for a Python file that assigns `experiment` at module level; test files stay pytest's own."""
    if path.suffix != ".py" or path.name.startswith(("test_", "conftest")):
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    if "experiment" not in text or "harness" not in text:
        return False
    try:
        statements = ast.parse(text).body
    except SyntaxError:
        # Python's own words about it are better than ours: let the import say them.
        return re.search(r"^experiment\s*[:=]", text, re.MULTILINE) is not None
    assigned = [target for node in statements for target in getattr(node, "targets", [getattr(node, "target", None)])]
    return any(isinstance(target, ast.Name) and target.id == "experiment" for target in assigned)


class ExperimentFile(pytest.Module):
    """A file with one `experiment`. A Module, so that `pytestmark` means what it means in pytest."""

    def collect(self) -> Iterator["ExperimentItem"]:
        wait_passively()  # the file itself may load torch
        try:
            experiment = getattr(self.obj, "experiment", None)
            if not isinstance(experiment, Experiment):
                return
            check_data(experiment)
        except HarnessError as error:
            raise self.CollectError(f"{_shown(self.config, self.path)}: {error}") from error
        yield ExperimentItem.from_parent(self, name="experiment", experiment=experiment)


class ExperimentItem(pytest.Item):
    """One experiment: `experiments/home_commands.py::experiment`."""

    def __init__(self, *, experiment: Experiment, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experiment = experiment
        self.outcome: Outcome | None = None

    @property
    def experiment_name(self) -> str:
        return self.path.stem

    @property
    def store_path(self) -> Path:
        return self.config.rootpath / str(self.config.getoption("--store"))

    @property
    def known_negative(self) -> bool:
        marker = self.get_closest_marker("xfail")
        raises = marker.kwargs.get("raises", ()) if marker else ()
        kinds = raises if isinstance(raises, tuple) else (raises,)
        return NoGo in kinds and Inconclusive not in kinds

    def setup(self) -> None:
        """Gather the evidence. A fault, or evidence that cannot be trusted, ends here: an error, not a failure."""
        # Imported here: collecting must not load duckdb, and only a run needs it.
        from harness.front import run_and_report

        self.outcome = run_and_report(
            self.experiment,
            name=self.experiment_name,
            file=self.path,
            shown=self._file,
            store_path=self.store_path,
            stream=self._stream(),
            known_negative=self.known_negative,
            until=self.config.getoption("--until"),
            fresh=bool(self.config.getoption("--fresh")),
            ignore_memory=bool(self.config.getoption("--ignore-memory")),
        )
        decision = self.outcome.decision
        self.user_properties += self._properties()
        if decision.verdict.value == "INVALID":
            raise InvalidEvidence(f"INVALID: {decision.reason}")

    def runtest(self) -> None:
        """Give the verdict."""
        assert self.outcome is not None
        if not self.outcome.complete:
            pytest.skip(f"stopped after {self.config.getoption('--until')}, as asked: no verdict")
        decision = self.outcome.decision
        if decision.verdict.value == "GO":
            return
        if self.config.getoption("--verdict") == "report" and self.get_closest_marker("xfail") is None:
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
            written = self._file.write(text)
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
    """Say which holdouts are too small for what is asked of them; with --collect-only, what is stored and would run."""
    items = [item for item in session.items if isinstance(item, ExperimentItem)]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not items or reporter is None:
        return
    from harness.outlook import outlook, too_small

    for item in items:
        name = item.experiment_name
        lines: Iterable[str] = (f"{name}: {sentence}" for sentence in too_small(item.experiment))
        if session.config.option.collectonly:
            lines = outlook(item.experiment, name=name, store_path=item.store_path)
        for line in lines:
            reporter.write_line(line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """End with each experiment's verdict and why; with what to do, gain and cost too where they are few."""
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
        folder = config.rootpath / Path(config.getoption("--store")).parent
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
