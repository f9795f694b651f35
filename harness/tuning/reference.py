"""The model that training starts from, kept as it was: what a policy's divergence is measured against."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.recipes import QLoRA
from harness.recipes.adapters import Adapter
from harness.tuning.ground import Ground
from harness.tuning.precision import Precision
from harness.tuning.starts import moved_its_base
from harness.weights.adapted import attach, is_adapted, switched_off
from harness.weights.loading import load_model


class Reference:
    """A new adapter's reference is its base, with the adapter switched off; any other is a second, frozen model."""

    def __init__(self, network: Any, ground: Ground, adapter: Adapter, precision: Precision) -> None:
        self._network = network
        self.shared = is_adapted(network) and ground.adapter is None and not moved_its_base(network)
        if self.shared:
            return
        quantize = adapter.quantization if isinstance(adapter, QLoRA) else None
        base = load_model(ground.model, dtype=precision.weights, quantize=quantize)
        kept = base if ground.adapter is None else attach(base, ground.adapter)
        self._network = kept.requires_grad_(False).eval()

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Give the network that computes as the start of training did."""
        if not self.shared:
            yield self._network
            return
        training = self._network.training
        self._network.eval()
        with switched_off(self._network):
            yield self._network
        self._network.train(training)
