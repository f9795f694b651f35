"""The peak is that of one training, not of all that a process did before."""

import sys

import pytest
import torch

from harness.training.callbacks import peak_memory, restart

_CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets a peak back")
def test_what_was_held_before_the_restart_does_not_count() -> None:
    held = torch.ones(200_000_000, dtype=torch.uint8)
    before = peak_memory(_CPU)
    del held
    restart(_CPU)
    low = peak_memory(_CPU)
    again = torch.ones(100_000_000, dtype=torch.uint8)
    high = peak_memory(_CPU)

    assert before - low > 150_000_000
    assert 90_000_000 < high - low < 150_000_000
    assert again.sum() == 100_000_000
