"""What the training logs of an experiment say of the fit of each recipe."""

import math
from collections.abc import Iterator
from dataclasses import replace

from harness.insights.fitting import Fitting, Series, fitting
from harness.runner.context import Run
from harness.store.rows import TrainingLogRow
from harness.systems import Stage


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
                    usual = getattr(step.recipe, "rates", None)
                    yield replace(
                        found,
                        recipe=system.name,
                        learning_rate=_found_rate(run, step.stage) or getattr(step.recipe, "rate", None),
                        suggested_rate=None if usual is None else math.sqrt(usual[0] * usual[1]),
                    )


def _found_rate(run: Run, stage: Stage) -> float | None:
    """Return the rate that the rate finder chose for this training; None where it was not asked."""
    row = run.store.stage(stage.key)
    facts = row.environment if row is not None and isinstance(row.environment, dict) else {}
    suggested = facts.get("suggested_rate")
    return suggested if isinstance(suggested, float) else None


def _dev(log: tuple[TrainingLogRow, ...], watched: str | None) -> Series:
    """Return the dev losses; overfitting shows in them first, also where a metric chose the checkpoint."""
    losses = _series(log, "dev_loss")
    return losses or ([] if watched is None else [(step, -value) for step, value in _series(log, f"dev_{watched}")])


def _series(log: tuple[TrainingLogRow, ...], name: str) -> Series:
    return sorted((row.step, row.value) for row in log if row.name == name and math.isfinite(row.value))
