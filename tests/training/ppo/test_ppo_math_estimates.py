"""Advantages, whitening and the like against numbers worked by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.training.rl.ppo_math import Coefficient, explained_variance, gae, token_rewards, whiten

_MASK = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])


def test_a_score_falls_on_the_last_token_and_each_token_pays_for_its_divergence() -> None:
    rewards = token_rewards(
        torch.tensor([2.0, -1.0]), torch.tensor([[0.5, 0.0, -1.0], [1.0, 2.0, 9.0]]), _MASK, beta=0.1
    )
    assert torch.allclose(rewards, torch.tensor([[-0.05, 0.0, 2.1], [-0.1, -1.2, 0.0]]))


def test_advantages_are_those_worked_by_hand() -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 7.0]])
    values = torch.tensor([[0.5, 0.4, 0.6], [1.0, 0.5, 9.0]])
    advantages, returns = gae(rewards, values, _MASK, gamma=0.9, trace=0.5)

    # Row 1, from the end: 1 - 0.6 = 0.4; 0.9 * 0.6 - 0.4 + 0.45 * 0.4 = 0.32; 0.9 * 0.4 - 0.5 + 0.45 * 0.32 = 0.004.
    # Row 2: 2 - 0.5 = 1.5; 0.9 * 0.5 - 1 + 0.45 * 1.5 = 0.125; its padding counts for nothing.
    assert torch.allclose(advantages, torch.tensor([[0.004, 0.32, 0.4], [0.125, 1.5, 0.0]]), atol=1e-6)
    assert torch.allclose(returns, torch.tensor([[0.504, 0.72, 1.0], [1.125, 2.0, 0.0]]), atol=1e-6)


def test_with_a_trace_of_1_returns_are_the_rewards_to_come_and_with_0_one_step_ahead() -> None:
    rewards, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[0.3, 0.2, 0.1]])
    mask = torch.ones(1, 3)
    assert torch.allclose(gae(rewards, values, mask, gamma=1, trace=1)[1], torch.tensor([[7.0, 6.0, 4.0]]))
    assert torch.allclose(gae(rewards, values, mask, gamma=0.5, trace=0)[1], torch.tensor([[1.1, 2.05, 4.0]]))


def test_whitened_values_have_mean_0_and_deviation_1_over_the_mask() -> None:
    found = whiten(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 100.0]]), _MASK)
    # Over 1, 2, 3, 4, 5: mean 3, deviation sqrt(2).
    expected = torch.tensor([[-2.0, -1.0, 0.0], [1.0, 2.0, 0.0]]) / 2**0.5
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(whiten(torch.full((2, 3), 7.0), _MASK), torch.zeros(2, 3))


def test_the_share_of_variance_explained() -> None:
    returns = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])
    assert explained_variance(returns.clone(), returns, _MASK) == pytest.approx(1)
    assert explained_variance(torch.full((2, 3), 2.0), returns, _MASK) == pytest.approx(0)
    assert explained_variance(returns / 2, returns, _MASK) == pytest.approx(0.75)
    assert explained_variance(returns, torch.ones(2, 3), _MASK) == 0


@pytest.mark.parametrize(
    ("divergence", "beta"),
    [(6.0, 0.1), (6.6, 0.1 * (1 + 0.1 * 0.5)), (60.0, 0.1 * (1 + 0.2 * 0.5)), (0.0, 0.1 * (1 - 0.2 * 0.5))],
)
def test_the_coefficient_follows_the_divergence_by_a_fifth_at_most(divergence: float, beta: float) -> None:
    steered = Coefficient(beta=0.1, target=6.0, horizon=200).after(divergence, answers=100)
    assert steered.beta == pytest.approx(beta)
    assert Coefficient(beta=0.1, target=None, horizon=200).after(divergence, answers=100).beta == 0.1


@given(st.lists(st.floats(0, 20), min_size=1, max_size=30))
def test_the_coefficient_never_turns_negative(divergences: list[float]) -> None:
    found = Coefficient(beta=0.05, target=6.0, horizon=64)
    for one in divergences:
        found = found.after(one, answers=64)
    assert found.beta > 0
