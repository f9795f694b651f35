"""What a run would do: the plan against the index of finished stages. Opens no database and loads no model."""

import json
import runpy
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from harness.criteria import Gain
from harness.errors import HarnessError, InvalidExperiment
from harness.experiment import Experiment
from harness.insights.power import enough_evidence, grouping
from harness.plan import Plan
from harness.protocols import CorpusMetric
from harness.runner.room import planned
from harness.samples import Split
from harness.systems import System


def outlook(experiment: Experiment, *, name: str, store_path: Path) -> Iterator[str]:
    """Yield the lines that describe the plan of one experiment."""
    index = store_path.with_suffix(".stages.json")
    try:
        stored = set(json.loads(index.read_text(encoding="utf-8"))) if store_path.exists() else set()
    except (FileNotFoundError, json.JSONDecodeError):
        stored = set()
    plan = Plan(experiment, name)
    try:
        stages = plan.known_stages()
    except HarnessError as error:
        yield f"{name}: the plan cannot be made: {error}"
        return
    states = Counter("stored" if stage.key in stored else "to run" for stage in stages)
    for sentence in too_small(experiment):
        yield f"{name}: {sentence}"
    yield f"{name}: {states['stored']} stages stored, {states['to run']} not (on holdout only the chosen pair runs)"
    for system in plan.tuned:
        if plan.tune(system, experiment.seeds[0]).key not in stored:
            yield from (f"  {said}" for said in _estimated(plan, system, store_path.parent))
    for stage in stages:
        state = "stored" if stage.key in stored else "if chosen" if stage.split is Split.HOLDOUT else "to run"
        yield f"  {state:<10}{stage.label}"


def _estimated(plan: Plan, system: System, folder: Path) -> Iterator[str]:
    """Yield what the training of one system would take, a sentence a step."""
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
    groups = grouping([sample.group for sample in holdout])
    for rule in experiment.go_if:
        if isinstance(rule, Gain) and rule.at_least > 0 and not isinstance(rule.metric, CorpusMetric):
            found = enough_evidence(len(holdout), rule.at_least, rule.metric, groups=groups)
            if found is not None and not found.enough:
                yield found.sentence


def load_experiment(path: Path) -> Experiment:
    """Return the `experiment` of a file.

    Raises InvalidExperiment naming the file when there is none.
    """
    if not path.is_file():
        raise InvalidExperiment(f"{path} does not exist; name an experiment file, such as experiments/home_commands.py")
    # Experiment files import their tasks from the folder they are run in, as pytest lets them.
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = runpy.run_path(str(path)).get("experiment")
    except HarnessError as error:
        raise InvalidExperiment(f"{path}: {error}") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(found, Experiment):
        raise InvalidExperiment(f"{path} assigns no `experiment`; write experiment = Experiment(...)")
    return found
