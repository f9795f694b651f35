"""TRL's SFTTrainer, with the loss on the answers' positions, batches of like length, and an exact dev loss."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from trl import SFTConfig, SFTTrainer

from harness.recipes import SFT
from harness.training.adapter_support import has_virtual_tokens
from harness.training.config import Precision, shared_settings
from harness.training.ewc import Consolidation
from harness.training.packing import Batch, packed, padded
from harness.training.trl_base import Unpublished

# Batches whose rows are sorted together: enough for like lengths, few enough to stay a shuffle.
_BATCHES_SORTED = 16
# A token's loss in a packed and in a padded row may differ by this much on average; rows that saw each other differ by
# tenths.
_ROUNDING, _ROUNDING_BF16 = 1e-3, 0.05


def trainer_config(
    recipe: SFT,
    *,
    folder: Path,
    seed: int,
    steps: int,
    every: int,
    precision: Precision,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> SFTConfig:
    """Return TRL's settings of `recipe`; `every` is the number of steps between evaluations and checkpoints.

    settings: further ones.
    """
    return SFTConfig(
        **settings,
        **shared_settings(recipe, folder=folder, seed=seed, steps=steps, every=every, precision=precision),
        include_num_input_tokens_seen="non_padding",
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


class AnswerTrainer(Unpublished, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer on ready token ids.

    On a CPU, TRL projects every position through the output head and masks afterwards; here only the positions
    before an answer's token are projected, which for long prompts is most of the head's work saved. What the rows of a
    batch share, such as an instruction or shots, is computed once where the model allows it.
    """

    def __init__(
        self,
        *,
        autocast: torch.dtype | None,
        dev: Sequence[dict[str, list[int]]],
        holding: Consolidation | None = None,
        **arguments: Any,
    ) -> None:
        self._autocast = autocast
        self._holding, self._penalty = holding, 0.0
        # Sorted once: the sum over all dev tokens does not depend on the order, only the padding does.
        self._dev = sorted(dev, key=lambda features: len(features["input_ids"]))
        # Whether batches are packed; known once one was computed both ways. Virtual tokens would have to be spread too.
        self.packs: bool | None = False if has_virtual_tokens(arguments["model"]) else None
        super().__init__(**arguments)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean loss of an answer token in the step, and what holds the weights of earlier tasks.

        `num_items_in_batch` counts all micro-batches; their losses are summed.
        """
        total, tokens = self._summed_loss(model, inputs)
        loss = total / (tokens if num_items_in_batch is None else num_items_in_batch)
        if self._holding is not None:
            penalty = self._holding.penalty()
            self._penalty = float(penalty.detach())
            loss = loss + penalty / (1 if num_items_in_batch is None else self.args.gradient_accumulation_steps)
        return (loss, {"loss": loss}) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return and log the dev loss: the sum over all answer tokens, divided by their number."""
        self.model.eval()
        size = 2 * self.args.per_device_train_batch_size  # no activations are kept, so twice the rows fit
        losses = []
        with torch.no_grad():
            for start in range(0, len(self._dev), size):
                batch = self._prepare_inputs(self.data_collator(self._dev[start : start + size]))
                total, tokens = self._summed_loss(self.model, batch)
                losses.append((float(total), int(tokens)))
        metrics = {"eval_loss": sum(total for total, _ in losses) / sum(tokens for _, tokens in losses)}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.model.train()
        return metrics

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log what the step was held back by beside its loss."""
        if self._holding is not None and "loss" in logs:
            logs["penalty"] = self._penalty
        super().log(logs, *args, **kwargs)

    def _summed_loss(self, model: Any, inputs: Any) -> tuple[Any, Any]:
        """Return the summed loss of the batch's answer tokens, and their number."""
        batch = packed(inputs) if self.packs is not False else None
        if batch is not None and self.packs is None:
            self.packs = self._agree(model, batch, padded(inputs))
        if batch is None or not self.packs:
            batch = padded(inputs)
        losses = self._token_losses(model, batch)
        return losses.sum(), losses.numel()

    def _token_losses(self, model: Any, batch: Batch) -> torch.Tensor:
        """Return the loss of each answer token, (learned,)."""
        with torch.autocast(batch.targets.device.type, dtype=self._autocast, enabled=self._autocast is not None):
            logits = batch.logits(model)
        return cross_entropy(logits.float(), batch.targets, reduction="none")

    def _agree(self, model: Any, one: Batch, other: Batch) -> bool:
        """Tell whether `model` gives both layouts of a batch the same losses; some cannot hide row from row."""
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                apart = self._token_losses(model, one) - self._token_losses(model, other)
        except (TypeError, ValueError, RuntimeError):
            return False
        finally:
            model.train(training)
        return float(apart.abs().mean()) < (_ROUNDING if self._autocast is None else _ROUNDING_BF16)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        lengths = [len(ids) for ids in (train_dataset or self.train_dataset)["input_ids"]]
        # Counted in updates, not passed by the loader: a run that resumes within an epoch finds the same order.
        updates = max(1, -(-len(lengths) // (self.args.train_batch_size * self.args.gradient_accumulation_steps)))
        return LikeLengths(
            lengths,
            batch_size=self.args.train_batch_size * self.args.gradient_accumulation_steps,
            seed=self.args.seed,
            epoch=lambda: self.state.global_step // updates,
        )


class LikeLengths(Sampler[int]):
    """A shuffle in which a batch's rows are of like length, so that little is padded. One order a seed and epoch."""

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        self._lengths, self._batch_size, self._seed, self._epoch = lengths, batch_size, seed, epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch())
        order = torch.randperm(len(self), generator=generator).tolist()
        pool, size = self._batch_size * _BATCHES_SORTED, self._batch_size
        batches = []
        for start in range(0, len(order), pool):
            alike = sorted(order[start : start + pool], key=lambda place: self._lengths[place])
            batches += [alike[at : at + size] for at in range(0, len(alike), size)]
        # The short batch stays last: elsewhere it would shift the rows of all batches after it.
        full = [batch for batch in batches if len(batch) == size]
        short = [batch for batch in batches if len(batch) < size]
        mixed = torch.randperm(len(full), generator=generator).tolist()
        return iter([place for at in mixed for place in full[at]] + [place for batch in short for place in batch])
