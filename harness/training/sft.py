"""Supervised fine-tuning with TRL: from a TuneJob to a tuned system on disk, with its log and its checks.

Batches packed into one row, or padded. TRL's SFTTrainer with the loss on the answers' positions, batches of like
length, and an exact dev loss.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy, pad, scaled_dot_product_attention
from torch.utils.data import Sampler
from transformers import AttentionInterface, AttentionMaskInterface
from trl import SFTConfig, SFTTrainer

from harness.errors import StageFailed
from harness.inference.models.loading import load_tokenizer
from harness.inference.models.prefix_tree import attention_as, spread, token_tree
from harness.recipes import SFT
from harness.training.adapter_setup import has_virtual_tokens
from harness.training.config import Unpublished, shared_settings
from harness.training.ewc import Consolidation, consolidate
from harness.training.external.run import fit_outside
from harness.training.launch import train_together
from harness.training.network import attend_fast
from harness.training.rows import (
    IGNORED,
    TokenizedRow,
    check_parity,
    collated_rows,
    draw_rows,
    make_rows,
    rows_that_fit,
    with_earlier_turns,
)
from harness.training.session import TrainingContext, TrainingSession, carry_out, steps_of
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress
from harness.types.samples import Check

# Fewer tokens saved than this share are not worth the packing.
_WORTH = 0.9
_NAME = "harness_packed"


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Where the rows of a batch lie in its packed row. spread: (rows, time), places of each row's tokens, then zeros.

    Args:
        owner: (tokens,), for each packed token one place of it among the rows, flattened.
    """

    spread: torch.Tensor
    owner: torch.Tensor


_CURRENT: ContextVar[PackedRows] = ContextVar("rows of the packed batch")


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch for one forward pass.

    Args:
        input_ids, position_ids: (1, tokens) if it is packed, else (rows, time) and None.
        mask: (rows, time) or None.
        keep: The positions whose logits are wanted.
        chosen: For each learned token, the place of its logits, flattened over rows and `keep`.
        targets: The learned tokens, (learned,).
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor | None
    mask: torch.Tensor | None
    keep: torch.Tensor
    chosen: torch.Tensor
    targets: torch.Tensor
    rows: PackedRows | None = None

    def logits(self, model: Any) -> torch.Tensor:
        """Return the logits of the learned tokens, (learned, vocabulary)."""
        with attention_as(model, _NAME, _CURRENT, self.rows) if self.rows else nullcontext():
            logits = model(
                input_ids=self.input_ids,
                attention_mask=self.mask,
                position_ids=self.position_ids,
                use_cache=False,
                logits_to_keep=self.keep,
            ).logits
        kept: torch.Tensor = logits.flatten(0, 1)[self.chosen]
        return kept


def padded(inputs: Mapping[str, Any]) -> Batch:
    """Return the batch as the collator made it, rows side by side."""
    targets = inputs["labels"][:, 1:]  # (rows, time - 1)
    learned = targets != IGNORED
    keep = learned.any(dim=0).nonzero().squeeze(-1)  # where any row has a token to learn
    chosen = learned[:, keep].flatten().nonzero().squeeze(-1)
    return Batch(inputs["input_ids"], None, inputs["attention_mask"], keep, chosen, targets[learned])


def packed(inputs: Mapping[str, Any]) -> Batch | None:
    """Return the batch over the tree of its sequences; None if that saves too little."""
    ids, labels, seen = inputs["input_ids"], inputs["labels"], inputs["attention_mask"].bool()
    rows = [row[here].tolist() for row, here in zip(ids, seen, strict=True)]
    answers = [row[here].tolist() for row, here in zip(labels, seen, strict=True)]
    tree = token_tree([row[:-1] for row in rows])  # the last token is only predicted
    if len(tree) > _WORTH * ids.numel():
        return None
    found = [
        (path[at - 1], token)
        for path, answer in zip(tree.paths, answers, strict=True)
        for at, token in enumerate(answer)
        if token != IGNORED and at > 0
    ]
    keep, chosen = torch.unique(torch.tensor([place for place, _ in found], device=ids.device), return_inverse=True)
    return Batch(
        input_ids=torch.tensor([tree.tokens], device=ids.device),
        position_ids=torch.tensor([tree.depths], device=ids.device),
        mask=None,
        keep=keep,
        chosen=chosen,
        targets=torch.tensor([token for _, token in found], device=ids.device),
        rows=_rows(tree.paths, len(tree), ids.device),
    )


def _rows(paths: tuple[tuple[int, ...], ...], tokens: int, device: torch.device) -> PackedRows:
    width = max(map(len, paths))
    places = torch.stack([pad(torch.tensor(path), (0, width - len(path))) for path in paths])
    owner = torch.empty(tokens, dtype=torch.long)
    for row, path in enumerate(paths):
        owner[list(path)] = torch.arange(row * width, row * width + len(path))
    return PackedRows(places.to(device), owner.to(device))


def _attend(
    module: Any,
    query: torch.Tensor,  # (1, heads, tokens, width)
    key: torch.Tensor,  # (1, key heads, tokens, width)
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    rows = _CURRENT.get()
    query, key, value = (spread(states, rows.spread, query.shape[1]) for states in (query, key, value))
    if query.device.type == "cpu":
        answer = _plain(query, key, value, scaling, dropout)
    else:
        answer = scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True, scale=scaling)
    flat = answer.transpose(1, 2).flatten(0, 1)  # (rows x time, heads, width)
    return flat.index_select(0, rows.owner)[None], None


def _plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, dropout: float
) -> torch.Tensor:
    """Attend by plain products: on a CPU the backward pass of torch's flash kernel takes up to 6 times as long."""
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.transpose(-1, -2)
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    weights = scores.masked_fill(later, float("-inf")).softmax(-1, dtype=torch.float32).to(value.dtype)
    return torch.dropout(weights, dropout, train=dropout > 0) @ value


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, lambda *_, **__: None)


# Batches whose rows are sorted together: enough for like lengths, few enough to stay a shuffle.
_BATCHES_SORTED = 16
# A token's loss in a packed and in a padded row may differ by this much on average; rows that saw each other differ by
# tenths.
_ROUNDING, _ROUNDING_BF16 = 1e-3, 0.05


def trainer_config(
    begun: TrainingContext, *, steps: int, settings: Mapping[str, Any] = MappingProxyType({})
) -> SFTConfig:
    """Return TRL's settings of a run of `steps` updates. settings: further ones."""
    return SFTConfig(
        **settings,
        **shared_settings(begun, steps=steps),
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


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (an SFT) on `job.train`, and return the system of the best dev loss.

    A recipe that names another tuner is carried out by that one. Where several devices share a recipe, their processes
    train, and this one makes the tuned system of what they leave.

    Raises:
        StageFailed: As `harness.training.session.carry_out` does.
    """
    if not job.train:
        raise StageFailed("there is no training example; give the task samples in Split.TRAIN")
    if isinstance(job.recipe, SFT) and job.recipe.backend is not None:
        return fit_outside(job, progress=progress)
    if isinstance(job.recipe, SFT) and job.recipe.devices > 1:
        began = time.monotonic()
        seen, checks = train_together(job, progress=progress)
        together = time.monotonic() - began
        alone = carry_out(job, SFT, prepare, progress=progress)
        return replace(
            alone,
            checks=(*alone.checks, *checks),
            environment={**alone.environment, **seen},
            # It goes on from the processes' last checkpoint, whose seconds have passed here as well.
            seconds_before=max(0.0, alone.seconds_before - together),
        )
    return carry_out(job, SFT, prepare, progress=progress)


def prepare(
    begun: TrainingContext,
    *,
    kind: type[AnswerTrainer] = AnswerTrainer,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> TrainingSession:
    """Return the course of supervised training. kind: of trainer. settings: further ones of TRL's."""
    job, recipe, tokenizer = begun.job, begun.recipe, begun.tokenizer
    examples = [*draw_rows(job.train, recipe.limit, seed=job.seed), *job.replay]
    rows, rows_check = rows_that_fit(make_rows(tokenizer, examples), longest=begun.longest, kind="train")
    turns = recipe.learn == "assistant"
    turns_checks: tuple[Check, ...] = ()
    if turns:
        rows, check = with_earlier_turns(tokenizer, rows)
        turns_checks = (check,)
    dev_rows, dev_check = _dev_rows(job, recipe, tokenizer, begun.longest)
    attend_fast(begun.network, begun.precision, longest=max(row.tokens for row in rows))
    holding, held_checks = consolidate(begun, recipe.keep) if recipe.keep is not None else (None, ())
    steps = steps_of(recipe, len(rows))
    config = trainer_config(begun, steps=steps, settings=settings)
    trainer = kind(
        autocast=begun.precision.autocast,
        dev=[row.features() for row in dev_rows],
        holding=holding,
        model=begun.network,
        args=config,
        train_dataset=Dataset.from_list([row.features() for row in rows]),
        processing_class=tokenizer,
    )
    collated = list(collated_rows(rows, trainer.data_collator, batch_size=recipe.batch_size))
    parity = check_parity(collated, [row.example for row in rows], load_tokenizer(begun.ground.model), turns=turns)
    return TrainingSession(
        trainer=trainer,
        rows=rows,
        steps=steps,
        evaluates=bool(dev_rows),
        checks=(rows_check, *turns_checks, dev_check, parity, *held_checks),
        logged={} if holding is None else {"penalty": "penalty"},
        environment=lambda: {
            "train_rows": len(rows),
            "dev_rows": len(dev_rows),
            "packed": bool(trainer.packs),
        },
    )


def _dev_rows(job: TuneJob, recipe: SFT, tokenizer: Any, longest: int | None) -> tuple[list[TokenizedRow], Check]:
    if not job.dev:
        detail = "there are no dev examples: no early stopping, and the last weights are kept, not the best"
        return [], Check(name="dev rows that fit", status="warning", detail=detail)
    return rows_that_fit(
        make_rows(tokenizer, draw_rows(job.dev, recipe.evaluate_on, seed=job.seed)), longest=longest, kind="dev"
    )
