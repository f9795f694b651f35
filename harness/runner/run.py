"""Carry an experiment out, from data checks to the stored decision."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.experiment.decide import Decision, Verdict
from harness.experiment.experiment import Experiment, check_data
from harness.plan import Plan
from harness.recipes.steps import as_steps
from harness.runner.context import Engines, Run, SilentProgress
from harness.runner.expected import expected_stages
from harness.runner.pipeline import Until, gather
from harness.runner.verdict import judge
from harness.store.store import Store
from harness.types.dotted_paths import check_path
from harness.types.protocols import Progress


@dataclass(frozen=True)
class Outcome:
    """What a run ends with.

    Attributes:
        name: What the experiment is called in the store, on its page and in the commands.
        decision: The verdict, its reason, and what each criterion found.
        complete: The run was not cut short by `until`.
        page: The experiment's page, once it is drawn.
    """

    name: str
    decision: Decision
    complete: bool
    page: Path | None = None

    @property
    def verdict(self) -> Verdict:
        """GO, NO_GO, INCONCLUSIVE or INVALID; equal to that text."""
        return self.decision.verdict

    @property
    def reason(self) -> str:
        """Why, in a sentence or two."""
        return self.decision.reason


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is carried out; nothing here changes what is measured.

    Args:
        file: The experiment file, whose text is kept.
        shown: The file as the report names it; None is as `file` stands.
        known_negative: Marked xfail(raises=NoGo).
        until: Stop after the baselines, or after tuning.
        fresh: Forget this experiment's stored stages first.
        ignore_memory: Train also what seems not to fit.
    """

    file: Path | None = None
    shown: Path | None = None
    known_negative: bool = False
    until: Until | None = None
    fresh: bool = False
    ignore_memory: bool = False


def run_plan(
    experiment: Experiment,
    *,
    name: str,
    store: Store,
    progress: Progress | None = None,
    options: Options | None = None,
) -> Outcome:
    """Gather what is missing, judge, store; returns the decision.

    Raises:
        InvalidExperiment: Before any time is spent.
        StageFailed: If a stage stops: running again resumes.
    """
    options, progress = options or Options(), progress or SilentProgress()
    plan = Plan(experiment, name)
    check_data(plan.experiment)
    check_paths(plan)
    _check_files(plan)
    if options.fresh:
        _forget(plan, store)
    engines = Engines(progress)
    work = Run(plan, store, progress, engines, ignore_memory=options.ignore_memory)
    try:
        seen = gather(work, until=options.until)
        source = options.file.read_text(encoding="utf-8") if options.file else ""
        shown = options.shown or options.file
        decision = judge(
            work,
            seen,
            file=shown.as_posix().encode("utf-8", "backslashreplace").decode("utf-8") if shown else "",
            source=source,
            known_negative=options.known_negative,
        )
    finally:
        engines.close()
    cut_short = options.until is not None and seen.holdout is None and seen.stopped is None and seen.trusted
    return Outcome(name, decision, complete=not cut_short)


def check_paths(plan: Plan) -> None:
    """Look at every dotted path before any time is spent or anything is stored.

    Raises:
        InvalidExperiment: If one of them leads nowhere.
    """
    for system in (*plan.baselines, *plan.tuned):
        check_path(system.model.engine, owner=f"model {system.model.name!r}")
        for step in as_steps(system.recipe).steps if system.recipe is not None else ():
            check_path(step.trainer, owner=f"recipe {step.name!r}")
    for metric in plan.experiment.metrics:
        if hasattr(metric, "executor"):
            check_path(metric.executor, owner=f"metric {metric.name!r}")


def _check_files(plan: Plan) -> None:
    """Make the keys of all training, which reads the files that recipes learn from: a bad row is told now."""
    for system in plan.tuned:
        plan.steps(system, 0)


def _forget(plan: Plan, store: Store) -> None:
    stages = [one.stage for one in expected_stages(plan)]
    # What was asked for beyond the plan, such as a judge's votes, stands in the last judgement.
    store.forget([*(stage.key for stage in stages if stage.key), *store.stages_of(plan.name)])
    for stage in stages:
        if stage.kind == "tune":
            shutil.rmtree(store.folder / "artifacts" / stage.key[:16], ignore_errors=True)
