"""What TRL's trainers are made to do here: publish nothing, take rows as they are, compute in the run's formats."""

from typing import Any

from harness.training.config import Precision


class Unpublished:
    """Beside a trainer: a checkpoint is no publication."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write no card."""

    def _send_telemetry(self) -> None:
        """Send nothing anywhere."""


class Formatted(Unpublished):
    """Beside a trainer: its loss is computed in the run's number formats."""

    def __init__(self, *, precision: Precision, **arguments: Any) -> None:
        self._precision = precision
        super().__init__(**arguments)

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        """Return TRL's loss."""
        with self._precision.computing():
            return super().compute_loss(*arguments, **named)  # type: ignore[misc]


class ReferencedRows(Formatted):
    """Beside a trainer that has a reference: rows are token ids, and hold the reference's log-probabilities."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset
