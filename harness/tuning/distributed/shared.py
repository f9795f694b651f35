"""The trainer of one among several processes: its share of each batch, and the loss of the whole."""

from collections.abc import Mapping
from typing import Any

import torch.distributed as messages
from torch.utils.data import DataLoader

from harness.tuning.rows import IGNORED
from harness.tuning.trainer import AnswerTrainer


class SharedTrainer(AnswerTrainer):
    """AnswerTrainer on every n-th row of each micro-batch.

    The batches are those of a single process, cut by rows: the same rows make a step, also in the short last batch,
    whatever the number of processes. `per_device_train_batch_size` is of all of them together.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.packs = False  # the packing reads the model's insides, which a wrapper hides

    def get_train_dataloader(self) -> "DataLoader[Any]":
        """Return the loader of this process' share; accelerate would hand out whole batches in turn."""
        return DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self._get_train_sampler(),
            collate_fn=lambda rows: self.data_collator(share(rows, messages.get_rank(), messages.get_world_size())),
        )

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return this share's part of the loss, times the processes: their gradients are averaged, not summed."""
        total, tokens = self._summed_loss(model, inputs)
        loss = total / (tokens if num_items_in_batch is None else num_items_in_batch) * messages.get_world_size()
        return (loss, {"loss": loss}) if return_outputs else loss

    def _track_num_input_tokens(self, inputs: Any) -> None:
        """Count the tokens of real rows: every process takes part in the sum, also one without any."""
        if not (inputs["labels"] != IGNORED).any():
            inputs = {**inputs, "attention_mask": inputs["attention_mask"] * 0}
        super()._track_num_input_tokens(inputs)


def share(rows: list[Mapping[str, Any]], rank: int, size: int) -> list[Mapping[str, Any]]:
    """Return every `size`-th row from `rank` on; where that is none, a row of which nothing is learned.

    Each process has to compute something, since the others wait for its gradients.
    """
    mine = rows[rank::size]
    if mine:
        return mine
    return [{**rows[0], "labels": [IGNORED] * len(rows[0]["labels"])}]
