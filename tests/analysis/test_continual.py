"""Matrices of tasks and steps, worked by hand."""

import math

import numpy as np
import pytest

from harness import Incomparable
from harness.analysis.continual import (
    TaskScores,
    average_accuracy,
    backward_transfer,
    continual,
    forgetting,
    forward_transfer,
)
from tests.analysis.scores import Loss, Right, scored

# Three tasks in a row: R[0] untrained, then after each step.
MATRIX = np.array(
    [
        [0.1, 0.2, 0.0],
        [0.9, 0.3, 0.1],
        [0.7, 0.8, 0.2],
        [0.5, 0.85, 0.7],
    ]
)
ORDER = ((1,), (2,), (3,))


def test_the_averages_are_those_of_the_papers():
    assert average_accuracy(MATRIX) == pytest.approx((0.5 + 0.85 + 0.7) / 3)
    assert backward_transfer(MATRIX, ORDER) == pytest.approx(((0.5 - 0.9) + (0.85 - 0.8)) / 2)
    # The best that each task ever was before the last step: 0.9 and 0.8.
    assert forgetting(MATRIX, ORDER) == pytest.approx(((0.9 - 0.5) + (0.8 - 0.85)) / 2)
    assert forward_transfer(MATRIX, ORDER) == pytest.approx(((0.3 - 0.2) + (0.2 - 0.0)) / 2)


def test_a_task_learned_twice_counts_from_its_last_time():
    order = ((1, 3), (2,), (3,))

    assert backward_transfer(MATRIX, order) == pytest.approx(0.85 - 0.8)  # the first task was learned last of all
    assert forward_transfer(MATRIX, order) == pytest.approx(((0.3 - 0.2) + (0.2 - 0.0)) / 2)


def test_a_stack_of_matrices_gives_a_stack_of_averages():
    stack = np.stack([MATRIX, MATRIX / 2])

    assert backward_transfer(stack, ORDER) == pytest.approx([-0.175, -0.0875])


def test_one_task_alone_has_nothing_to_forget():
    with pytest.raises(ValueError, match="no task qualifies"):
        forgetting(MATRIX[:2, :1], ((1,),))


def column(task, rows, learned, metric=None):
    after = tuple(scored(f"step {step}", row) for step, row in enumerate(rows))
    return TaskScores(task=task, metric=metric or Right(), learned=learned, after=after)


def right(share, n=100):
    return [1.0] * round(share * n) + [0.0] * (n - round(share * n))


def two_tasks():
    return [
        column("first", [right(0.1), right(0.9), right(0.6)], (1,)),
        column("second", [right(0.2), right(0.3), right(0.8)], (2,)),
    ]


def test_the_matrix_holds_every_cell_with_its_doubt():
    guard = column("guard", [right(0.5), right(0.5), right(0.4)], ())
    found = continual("a then b", steps=["a", "b"], tasks=[*two_tasks(), guard])

    assert found.steps == ("before training", "a", "b")
    assert [[cell.value for cell in column.cells] for column in found.columns] == [
        [0.1, 0.9, 0.6],
        [0.2, 0.3, 0.8],
        [0.5, 0.5, 0.4],
    ]
    assert all(cell.low < cell.value < cell.high for column in found.columns for cell in column.cells)
    assert (found.average.value, found.backward.value) == (pytest.approx(0.7), pytest.approx(-0.3))
    assert (found.forgetting.value, found.forward.value) == (pytest.approx(0.3), pytest.approx(0.1))
    assert found.sentence == (
        "a then b learned first, then second: right after the last step is "
        f"{found.average.as_mean('%')} on average. What came later changed the earlier tasks by "
        f"{found.backward.as_difference('%')} (forgetting {found.forgetting.as_difference('%')}). A task gained "
        f"{found.forward.as_difference('%')} from those before it, before it was learned. Intervals are at 95 %."
    )


def test_the_interval_of_what_was_lost_is_that_of_paired_samples():
    """30 of 100 answers were lost: the paired standard error is sqrt(0.3 x 0.7 / 100), whatever the levels are."""
    found = continual("a then b", steps=["a", "b"], tasks=two_tasks())

    width = (found.forgetting.high - found.forgetting.low) / 2
    assert width == pytest.approx(1.96 * math.sqrt(0.3 * 0.7 / 100), rel=0.08)
    assert found.backward.value == -found.forgetting.value


def test_what_no_sample_showed_is_not_called_certain():
    """None of 30 answers was lost: up to 11.6 % may be, by the exact bound of 0 in 30."""
    tasks = [
        column("first", [right(0.0, 30), right(1.0, 30), right(1.0, 30)], (1,)),
        column("second", [right(0.0, 30), right(0.0, 30), right(1.0, 30)], (2,)),
    ]
    found = continual("a then b", steps=["a", "b"], tasks=tasks)

    assert (found.forgetting.low, found.forgetting.high) == pytest.approx((-0.116, 0.116), abs=0.001)
    assert (found.average.low, found.average.high) == pytest.approx((0.884, 1.0), abs=0.001)


def test_where_lower_is_better_a_rise_is_forgetting():
    tasks = [
        column("first", [[3.0] * 20, [1.0] * 20, [2.0] * 20], (1,), Loss()),
        column("second", [[4.0] * 20, [3.5] * 20, [1.0] * 20], (2,), Loss()),
    ]
    found = continual("a then b", steps=["a", "b"], tasks=tasks)

    assert (found.average.value, found.forgetting.value, found.backward.value) == (1.5, 1.0, -1.0)
    assert found.forward.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([column("first", [right(0.1), right(0.2)], (1,))], "2 rows of scores for 2 steps"),
        ([column("guard", [right(0.1)] * 3, ())], "no task was learned"),
        (
            [column("first", [right(0.1)] * 3, (1,)), column("second", [[1.0] * 9] * 3, (2,), Loss())],
            "their mean needs one metric",
        ),
    ],
)
def test_what_makes_no_matrix_is_refused(tasks, words):
    with pytest.raises(Incomparable, match=words):
        continual("a then b", steps=["a", "b"], tasks=tasks)
