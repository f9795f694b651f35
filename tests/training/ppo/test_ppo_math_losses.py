"""The clipped losses against numbers worked by hand."""

import math

import pytest
import torch

from harness.training.rl.ppo_math import policy_loss, value_loss


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, 0),
        (1.1, 2.0, -2.2, 0),
        (1.5, 2.0, -2.4, 1),  # no more is to be gained than at 1.2
        (0.5, 2.0, -1.0, 0),  # a good answer that became unlikelier is not protected
        (0.5, -2.0, 1.6, 1),  # a bad one need not fall below 0.8
        (1.5, -2.0, 3.0, 0),
    ],
)
def test_a_ratio_past_the_bound_gains_nothing(ratio: float, advantage: float, loss: float, clipped: int) -> None:
    before = torch.tensor([[-1.0, -2.0]])
    now = before + torch.tensor([[math.log(ratio), 5.0]])
    found = policy_loss(now, before, torch.tensor([[advantage, 9.0]]), torch.tensor([[1.0, 0.0]]), clip=0.2)
    assert float(found.total) == pytest.approx(loss, rel=1e-5)
    assert int(found.clipped) == clipped


def test_a_clipped_ratio_has_no_gradient() -> None:
    now = torch.tensor([[math.log(1.5), math.log(1.1)]], requires_grad=True)
    policy_loss(now, torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2), clip=0.2).total.backward()
    assert now.grad is not None
    assert now.grad[0].tolist() == pytest.approx([0.0, -1.1])


@pytest.mark.parametrize(
    ("value", "loss", "clipped"),
    [
        (0.1, 0.5 * 0.9**2, 0),
        (0.9, 0.5 * 0.8**2, 1),  # nearer to the return than 0.2 allows: the bound's error counts
        (-0.5, 0.5 * 1.5**2, 0),
    ],
)
def test_a_value_that_leaps_gains_nothing(value: float, loss: float, clipped: int) -> None:
    found = value_loss(
        torch.tensor([[value, 5.0]]),
        torch.zeros(1, 2),
        torch.tensor([[1.0, 9.0]]),
        torch.tensor([[1.0, 0.0]]),
        clip=0.2,
    )
    assert float(found.total) == pytest.approx(loss, rel=1e-5)
    assert int(found.clipped) == clipped
