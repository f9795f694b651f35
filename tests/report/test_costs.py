"""What training cost, each number named."""

from dataclasses import replace
from types import ModuleType

from harness.report.costs import TrainingCost, training_cost


def test_the_curves_trainings_are_not_taken_for_the_recipes_own(made: ModuleType) -> None:
    evidence = made.go()
    before = training_cost(evidence)
    tune = next(stage for stage in evidence.stages if stage.kind == "tune")
    part = replace(tune, key="part", system=f"{tune.system} on 25% of the data", seconds=76.0)
    after = training_cost(replace(evidence, stages=(*evidence.stages, part)))

    assert (after.own, after.seeds) == (before.own, before.seeds)
    assert (after.others - before.others, after.total - before.total) == (76.0, 76.0)
    assert after.text == f"{before.text}; other trainings took 1 min 16 s"


def test_one_training_is_told_without_a_mean_and_none_not_at_all() -> None:
    assert TrainingCost(own=122.0, seeds=1, others=0.0).text == "trained in 2 min 02 s"
    assert TrainingCost(own=None, seeds=0, others=0.0).text == ""
    assert TrainingCost(own=None, seeds=0, others=122.0).text == "trainings took 2 min 02 s"
