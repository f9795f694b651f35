"""Which training logs are judged, and by what."""

import math
from types import SimpleNamespace

from harness.metrics import ExactMatch
from harness.recipes import SFT
from harness.runner.dev_analyses import fittings
from harness.store.rows import TrainingLogRow


def row(key: str, step: int, name: str, value: float) -> TrainingLogRow:
    return TrainingLogRow(stage_key=key, step=step, epoch=1.0, name=name, value=value)


def rising(key: str) -> tuple[TrainingLogRow, ...]:
    """Return a log whose dev loss rises from step 20 on; one loss is no number."""
    train = [row(key, step, "loss", math.nan if step == 7 else 3.0 / step) for step in range(1, 41)]
    dev = [row(key, step, "dev_loss", value) for step, value in ((10, 2.0), (20, 1.0), (30, 1.5), (40, 2.0))]
    return (*train, *dev)


def run_of(*steps: SimpleNamespace, logs: dict[str, tuple[TrainingLogRow, ...]]) -> SimpleNamespace:
    plan = SimpleNamespace(
        tuned=(SimpleNamespace(name="sft then more"),),
        experiment=SimpleNamespace(seeds=(1,)),
        steps=lambda system, seed: steps,
    )
    return SimpleNamespace(
        plan=plan, store=SimpleNamespace(training_log=lambda key: logs.get(key, ()), stage=lambda key: None)
    )


def step(key: str, number: int, recipe: SFT) -> SimpleNamespace:
    return SimpleNamespace(stage=SimpleNamespace(key=key), number=number, recipe=recipe)


def test_each_step_is_judged_by_its_dev_loss_and_a_short_log_is_not() -> None:
    run = run_of(step("a", 1, SFT()), step("b", 2, SFT()), logs={"a": rising("a"), "b": rising("b")[:5]})
    (found,) = fittings(run)  # type: ignore[arg-type]
    assert (found.stage, found.system, found.seed, found.kind) == ("a", "sft then more, step 1", 1, "overfitting")


def test_where_only_a_metric_was_watched_it_is_judged_by_that() -> None:
    log = [row("a", at, "loss", 3.0 / at) for at in range(1, 41)]
    log += [row("a", at, "dev_exact_match", value) for at, value in ((10, 0.2), (20, 0.8), (30, 0.5), (40, 0.4))]
    run = run_of(step("a", 1, SFT(watch=ExactMatch())), logs={"a": tuple(log)})
    (found,) = fittings(run)  # type: ignore[arg-type]
    assert (found.kind, found.best_step, found.best_dev) == ("overfitting", 20, -0.8)
