"""Words for a training log, on curves that are planted."""

import math

import pytest

from harness.analysis.fit_diagnosis import Fitting, fitting


def judged(train: list[float], dev: dict[int, float]) -> Fitting | None:
    return fitting(stage="k", system="sft", seed=1, train=list(enumerate(train, 1)), dev=sorted(dev.items()))


def falling(start: float, end: float, steps: int = 100, pace: float = 15.0) -> list[float]:
    return [end + (start - end) * math.exp(-step / pace) for step in range(steps)]


def test_a_dev_loss_that_rises_while_the_train_loss_falls_is_overfitting_and_says_where() -> None:
    found = judged(falling(3.0, 0.2), {20: 1.5, 40: 1.0, 60: 1.1, 80: 1.3, 100: 1.6})
    assert found is not None
    assert (found.kind, found.best_step, found.last_dev) == ("overfitting", 40, 1.6)
    assert found.sentence.startswith(
        "sft, seed 1: it overfits after step 40 of 100: the dev loss rises from 1 to 1.6 while the train loss falls "
    )
    assert found.sentence.endswith("the weights of step 40 were kept.")
    assert found.advice == "give fewer epochs, more examples, or dropout"


def test_a_dev_loss_that_still_falls_at_the_end_is_underfitting() -> None:
    found = judged(falling(3.0, 0.5, pace=80), {20: 2.8, 40: 2.5, 60: 2.2, 80: 1.9, 100: 1.6})
    assert found is not None
    assert found.kind == "underfitting"
    assert "the last evaluation alone brought 0.3" in found.sentence
    assert found.advice.startswith("give more epochs")


def test_a_curve_that_has_flattened_is_converged() -> None:
    found = judged(falling(3.0, 0.8), {20: 1.4, 40: 1.02, 60: 1.0, 80: 0.995, 100: 0.994})
    assert found is not None
    assert found.kind == "converged"
    assert "dev loss 1.4 at the first evaluation, 0.994 at step 100" in found.sentence


def test_answers_known_by_heart_that_do_not_carry_over_are_memorised() -> None:
    found = judged(falling(3.0, 0.001, pace=8), {20: 1.3, 40: 1.2, 60: 1.2, 80: 1.21, 100: 1.22})
    assert found is not None
    assert found.kind == "memorised"


def test_answers_known_by_heart_that_carry_over_are_not_blamed() -> None:
    found = judged(falling(3.0, 0.001, pace=8), {20: 0.3, 40: 0.02, 60: 0.01, 80: 0.0101, 100: 0.0101})
    assert found is not None
    assert found.kind == "converged"


def test_losses_that_jump_are_the_rates_fault() -> None:
    train = falling(3.0, 0.5)
    for step in range(20, 100, 10):
        train[step] *= 4
    found = judged(train, {20: 1.5, 60: 1.2, 100: 1.1})
    assert found is not None
    assert (found.kind, found.spikes) == ("unstable", 8)
    assert "lower learning_rate" in found.advice


def test_losses_that_hardly_move_are_nothing_learned() -> None:
    found = judged([2.0 - step * 1e-4 for step in range(100)], {20: 2.0, 60: 1.999, 100: 1.998})
    assert found is not None
    assert found.kind == "nothing learned"
    assert 'learning_rate="find"' in found.advice


@pytest.mark.parametrize(("train", "dev"), [([1.0] * 50, {10: 1.0, 20: 0.9}), ([1.0, 0.9], {1: 1.0, 2: 0.9, 3: 0.8})])
def test_of_too_short_a_log_nothing_is_said(train: list[float], dev: dict[int, float]) -> None:
    assert judged(train, dev) is None
