"""One planted situation, and what came of it."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import Experiment, HarnessError
from harness.experiment.decide import Decision
from harness.runner.run import Options, run_plan
from harness.store.store import Store

ERROR = "error"


@dataclass(frozen=True)
class Got:
    """verdict: its name, or "error" for a run that stopped. reason: the decision's, or the error's message."""

    verdict: str
    reason: str


Play = Callable[[Path], Got]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """planted: what is done, in words. says: what the reason must name. play: does it in an empty folder."""

    group: str
    name: str
    planted: str
    expected: str
    says: str
    play: Play

    def holds(self, got: Got) -> bool:
        return got.verdict == self.expected and self.says.casefold() in got.reason.casefold()


def decide_once(experiment: Experiment, folder: Path, *, name: str = "planted", options: Options | None = None) -> Got:
    """Run one experiment in `folder`'s store; an error of the harness's own is what came of it."""
    try:
        outcome = run_plan(experiment, name=name, store=Store(folder / "results.duckdb"), options=options)
    except HarnessError as error:
        return Got(ERROR, str(error))
    return got_of(outcome.decision)


def got_of(decision: Decision) -> Got:
    return Got(decision.verdict.value, decision.reason)


def once(make: Callable[[], Experiment], *, name: str = "planted") -> Play:
    """Return a play of one run of an experiment called `name`."""

    def play(folder: Path) -> Got:
        try:
            experiment = make()
        except HarnessError as error:
            return Got(ERROR, str(error))
        return decide_once(experiment, folder, name=name)

    return play


def one_after_another(make: Callable[[], Sequence[tuple[str, Experiment]]]) -> Play:
    """Return a play of several named runs on one store; the last one's verdict counts."""

    def play(folder: Path) -> Got:
        got = Got(ERROR, "nothing was run")
        for name, experiment in make():
            got = decide_once(experiment, folder, name=name)
        return got

    return play


def played(situations: Sequence[Situation], *, together: bool) -> Iterator[tuple[Situation, Got]]:
    """Play each situation, in a folder of its own or, where the same answers serve several, `together` in one."""
    with tempfile.TemporaryDirectory() as folder:
        for place, situation in enumerate(situations):
            own = Path(folder) if together else Path(folder) / str(place)
            own.mkdir(exist_ok=True)
            yield situation, situation.play(own)
