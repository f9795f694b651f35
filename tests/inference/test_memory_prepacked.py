"""Prepacked layers give what plain ones give, and follow their weights."""

import pytest
import torch
from torch import nn

from harness.inference.local.engine import _multiplies_bfloat16, prepack

needs_bfloat16 = pytest.mark.skipif(not _multiplies_bfloat16(), reason="the CPU has no bfloat16 products")


def layers(dtype: torch.dtype = torch.bfloat16) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.Linear(96, 32, bias=False)).to(dtype)


@needs_bfloat16
@pytest.mark.parametrize("shape", [(1, 1, 64), (1, 32, 64), (4, 48, 64), (1, 500, 64)])
def test_the_products_are_the_same_up_to_rounding(shape: tuple[int, ...]) -> None:
    plain, packed = layers(), layers()
    assert prepack(packed)
    states = torch.randn(shape).bfloat16()
    with torch.inference_mode():
        expected, got = plain(states), packed(states)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, expected, atol=0.02, rtol=0.02)


@needs_bfloat16
def test_a_changed_weight_is_packed_anew() -> None:
    packed = layers()
    prepack(packed)
    states = torch.randn(1, 8, 64).bfloat16()
    with torch.inference_mode():
        before = packed(states).clone()
    with torch.no_grad():
        packed[1].weight.mul_(2)
    with torch.inference_mode():
        torch.testing.assert_close(packed(states), 2 * before, atol=0.02, rtol=0.02)


@needs_bfloat16
def test_outside_inference_gradients_flow() -> None:
    packed = layers()
    prepack(packed)
    packed(torch.randn(1, 8, 64).bfloat16()).sum().backward()
    assert packed[0].weight.grad is not None


def test_float32_and_short_memory_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not prepack(layers(torch.float32))
    monkeypatch.setattr("harness.inference.local.engine.memory_bytes", lambda device: 1000)
    assert not prepack(layers())
