"""What a run would do: the plan against the index of finished stages. Opens no database and loads no model."""

import json
import runpy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.criteria import Gain
from harness.errors import HarnessError, InvalidExperiment
from harness.experiment import Experiment
from harness.insights.power import enough_evidence, grouping
from harness.plan import Plan
from harness.plan.contents import Contents
from harness.protocols import CorpusMetric
from harness.runner.expected import expected_stages
from harness.runner.room import planned
from harness.samples import Split
from harness.systems import System


def outlook(experiment: Experiment, *, name: str, store_path: Path) -> Iterator[str]:
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
    # Experiment files import from the folder that they are run in and from their own, as pytest lets them.
    folders = [str(Path.cwd()), str(path.resolve().parent)]
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
