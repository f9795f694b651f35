"""What the training logs of an experiment say of the fit of each recipe."""

import math
from collections.abc import Iterator

from harness.insights.fitting import Fitting, Series, fitting
from harness.runner.context import Run
from harness.store.rows import TrainingLogRow


def fittings(run: Run) -> Iterator[Fitting]:
    """Yield one judgement a tuned stage, in the order of the plan; of one whose log is too short, none."""
    for system in run.plan.tuned:
        for seed in run.plan.experiment.seeds:
            steps = run.plan.steps(system, seed)
            for step in steps:
                log = run.store.training_log(step.stage.key)
                watched = getattr(step.recipe, "watch", None)
                label = system.name if len(steps) == 1 else f"{system.name}, step {step.number}"
                found = fitting(
                    stage=step.stage.key,
                    system=label,
                    seed=seed,
                    train=_series(log, "loss"),
                    dev=_dev(log, None if watched is None else watched.name),
                )
                if found is not None:
                    yield found


def _dev(log: tuple[TrainingLogRow, ...], watched: str | None) -> Series:
    """Return the dev losses; overfitting shows in them first, also where a metric chose the checkpoint."""
    losses = _series(log, "dev_loss")
    return losses or ([] if watched is None else [(step, -value) for step, value in _series(log, f"dev_{watched}")])


def _series(log: tuple[TrainingLogRow, ...], name: str) -> Series:
    return sorted((row.step, row.value) for row in log if row.name == name and math.isfinite(row.value))
