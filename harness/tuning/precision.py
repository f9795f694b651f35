"""In which number formats a run computes, and its seeds."""

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from transformers import set_seed

from harness.models import Model
from harness.recipes import Full
from harness.recipes.adapters import Adapter
from harness.weights.hardware import choose_device, choose_dtype


@dataclass(frozen=True, slots=True)
class Precision:
    """device: where it computes. weights: dtype of the base; trained weights are float32 whatever it is.

    autocast: dtype of the matrix products, None where all is float32.
    """

    device: torch.device
    weights: torch.dtype
    autocast: torch.dtype | None

    def computing(self) -> AbstractContextManager[object]:
        """Return the context in which a network computes in these formats."""
        return torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)


def choose_precision(model: Model, adapter: Adapter) -> Precision:
    """Return the formats of a run: bfloat16 products where the machine has them.

    A frozen base is held in the dtype that is served, which is also the fastest (docs/log.md). Weights that are
    trained stay float32: an update below 1/256 of a bfloat16 weight is rounded away. float16 has too narrow a range
    to train in without loss scaling, so a float16 model trains in float32.
    """
    device = choose_device(model.device)
    wanted = choose_dtype(model.dtype, device)
    if wanted is not torch.bfloat16:
        return Precision(device, torch.float32, None)
    return Precision(device, torch.float32 if isinstance(adapter, Full) else torch.bfloat16, torch.bfloat16)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch, and give back the caller's random states at the end."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        set_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
