"""Rows of pairs and of votes: the served prompt's tokens and each answer's, and what the reference says of them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch.nn.functional import cross_entropy
from trl.trainer.dpo_trainer import DataCollatorForPreference

from harness.errors import StageFailed
from harness.inference.models.adapters import is_adapted, switched_off
from harness.inference.models.loading import load_tokenizer
from harness.training.adapter_setup import moved_its_base
from harness.training.rows import IGNORED, Collated, TokenizedRow, check_parity, draw_rows, make_rows
from harness.training.session import TrainingContext
from harness.training.sft import padded
from harness.types.samples import Check, Example, Messages, Pair, Vote

# What a trainer of pairs logs besides the loss, TRL's key -> name in the training log.
LOGGED: Mapping[str, str] = {
    "rewards/margins": "reward_margin",
    "rewards/accuracies": "reward_accuracy",
    "eval_rewards/margins": "dev_reward_margin",
    "eval_rewards/accuracies": "dev_reward_accuracy",
}
_SHOWN = 20
_Kind = TypeVar("_Kind", "PairRow", "VoteRow")


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two rows with one prompt. reference: summed log-probability of the chosen and of the rejected answer, in nats,
    under the model that training starts from; None if the method asks for none.
    """

    chosen: TokenizedRow
    rejected: TokenizedRow
    reference: tuple[float, float] | None = None

    @property
    def id(self) -> str:
        return self.chosen.example.id

    @property
    def rows(self) -> tuple[TokenizedRow, ...]:
        return self.chosen, self.rejected

    def features(self) -> dict[str, Any]:
        """Return what TRL's collator of pairs takes."""
        ids = {
            "prompt_ids": [*self.chosen.prompt],
            "chosen_ids": [*self.chosen.answer],
            "rejected_ids": [*self.rejected.answer],
        }
        if self.reference is None:
            return ids
        return {**ids, "ref_chosen_logps": self.reference[0], "ref_rejected_logps": self.reference[1]}


@dataclass(frozen=True, slots=True)
class VoteRow:
    """One row, and whether its answer was found good."""

    row: TokenizedRow
    good: bool

    @property
    def id(self) -> str:
        return self.row.example.id

    @property
    def rows(self) -> tuple[TokenizedRow, ...]:
        return (self.row,)


@dataclass(frozen=True, slots=True)
class PreferenceRows:
    """Rows of training and of evaluation, and the checks on how they were made."""

    train: list[PairRow]
    dev: list[PairRow]
    checks: tuple[Check, ...]

    @property
    def longest(self) -> int:
        return max(row.tokens for pair in self.train for row in pair.rows)


def pairs_ready(begun: TrainingContext, *, reference: bool) -> PreferenceRows:
    """Return the rows of the job's pairs. reference: with the log-probabilities of the model training starts from.

    Raises:
        StageFailed: If the job has no pair that can be learned from.
    """
    job, recipe = begun.job, begun.recipe
    if not job.pairs:
        raise StageFailed(
            f"{recipe.name}: there is no pair to learn from; name a file of preference rows with pairs=, or give the "
            "task's samples a `rejected` answer"
        )
    told, told_check = _told_apart(draw_rows(job.pairs, recipe.limit, seed=job.seed))
    train, train_check = fitting_preferences(
        pair_rows(begun.tokenizer, told), longest=begun.longest, kind="train pairs"
    )
    dev, dev_check = _dev_pairs(begun)
    if reference:
        train, dev = with_reference(begun, train), with_reference(begun, dev)
    return PreferenceRows(train, dev, (told_check, train_check, dev_check))


def pair_rows(tokenizer: Any, pairs: Sequence[Pair]) -> list[PairRow]:
    """Return the rows of `pairs`, in order."""
    chosen = make_rows(tokenizer, [_example(pair.id, pair.prompt, pair.chosen) for pair in pairs])
    rejected = make_rows(tokenizer, [_example(pair.id, pair.prompt, pair.rejected) for pair in pairs])
    return [PairRow(*both) for both in zip(chosen, rejected, strict=True)]


def vote_rows(tokenizer: Any, votes: Sequence[Vote]) -> list[VoteRow]:
    """Return the rows of `votes`, in order."""
    rows = make_rows(tokenizer, [_example(vote.id, vote.prompt, vote.answer) for vote in votes])
    return [VoteRow(row, vote.good) for row, vote in zip(rows, votes, strict=True)]


def fitting_preferences(rows: Sequence[_Kind], *, longest: int | None, kind: str) -> tuple[list[_Kind], Check]:
    """Return the rows whose answers all fit into `longest` tokens with their prompt, and the check that counts others.

    Raises:
        StageFailed: If none is left.
    """
    kept = [row for row in rows if longest is None or all(part.tokens <= longest for part in row.rows)]
    if len(kept) == len(rows):
        return kept, Check(name=f"{kind} that fit", status="ok", detail=f"all {len(rows):,} {kind} fit; none was cut")
    needed = max(part.tokens for row in rows for part in row.rows)
    if not kept:
        raise StageFailed(
            f"none of the {len(rows):,} {kind} fits into {longest} tokens (the longest has {needed}); "
            "raise max_length, or shorten the prompt"
        )
    left = [row.id for row in rows if row not in kept]
    detail = (
        f"{len(left):,} of {len(rows):,} {kind} have more than {longest} tokens (up to {needed}); they were left out"
    )
    return kept, Check(name=f"{kind} that fit", status="warning", detail=detail, items=tuple(left[:_SHOWN]))


def pair_parity(begun: TrainingContext, rows: Sequence[PairRow]) -> Check:
    """Return the check "prompt parity" of both answers of each pair, as TRL's collator yields them."""
    collator, serving = pair_collator(begun.tokenizer), load_tokenizer(begun.ground.model)
    found: list[Collated] = []
    for row in rows:
        batch = collator([row.features()])
        found += [
            collated(*seen)
            for seen in zip(batch["input_ids"], pair_labels(batch), batch["attention_mask"], strict=True)
        ]
    return check_parity(found, [part.example for row in rows for part in row.rows], serving)


def collated(ids: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> Collated:
    """Return one row of a batch with its padding removed; a label on padding is kept, for it is a fault."""
    seen = mask.bool()
    hidden = [int(label) for label in labels[~seen] if int(label) != IGNORED]
    return Collated(tuple(ids[seen].tolist()), (*labels[seen].tolist(), *hidden))


def pair_collator(tokenizer: Any) -> DataCollatorForPreference:
    """Return TRL's collator: chosen rows, then rejected ones, padded on the right, nothing cut."""
    return DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id, max_length=None)


def pair_labels(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the answers' tokens, IGNORED elsewhere, (rows, time)."""
    return batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """What a network says of a batch's answers. sums: log-probability of each row's answer, (rows,). tokens: how many
    it has, (rows,). each, owner: of each answer token its log-probability and its row. logits: (answer tokens,
    vocabulary)."""

    sums: torch.Tensor
    tokens: torch.Tensor
    each: torch.Tensor
    owner: torch.Tensor
    logits: torch.Tensor


def scored_pairs(network: Any, batch: Mapping[str, torch.Tensor]) -> ScoredPairs:
    """Return the log-probabilities of the answers of a batch that TRL's collators made."""
    labels = pair_labels(batch)
    laid = padded({"input_ids": batch["input_ids"], "labels": labels, "attention_mask": batch["attention_mask"]})
    logits = laid.logits(network).float()
    each = -cross_entropy(logits, laid.targets, reduction="none")
    owner = (labels[:, 1:] != IGNORED).nonzero()[:, 0]
    empty = torch.zeros(len(labels), device=each.device)
    return ScoredPairs(
        sums=empty.index_add(0, owner, each),
        tokens=empty.index_add(0, owner, torch.ones_like(each)),
        each=each,
        owner=owner,
        logits=logits,
    )


def with_reference(begun: TrainingContext, rows: Sequence[PairRow]) -> list[PairRow]:
    """Return the rows with their log-probabilities under the model that training starts from."""
    collator = pair_collator(begun.tokenizer)
    both = reference_sums(begun, [[row.features()] for row in rows], collator, rows_each=2)
    return [replace(row, reference=(float(one[0]), float(one[1]))) for row, one in zip(rows, both, strict=True)]


def reference_sums(
    begun: TrainingContext, features: Sequence[list[dict[str, Any]]], collate: Callable[[Any], Any], *, rows_each: int
) -> list[list[float]]:
    """Return, for each group of features, the summed log-probability of its `rows_each` answers under the reference.

    The reference is what training starts from: the base with a new adapter switched off, or the weights and the
    adapter of an earlier step as they are. An adapter that took its start out of the base's weights stays on: only
    with it is the base what it was. All is computed once, before the first step, so that nothing is kept in memory or
    loaded from a path.
    """
    network, found = begun.network, []
    fresh = is_adapted(network) and begun.ground.adapter is None and not moved_its_base(network)
    training = network.training
    network.eval()
    with torch.no_grad(), switched_off(network) if fresh else nullcontext(), begun.precision.computing():
        for group in features:
            batch = {name: value.to(begun.precision.device) for name, value in collate(group).items()}
            sums = scored_pairs(network, batch).sums
            assert len(sums) == rows_each * len(group)
            found.append([float(value) for value in sums])
    network.train(training)
    return found


class NoReference(torch.nn.Module):
    """Stands where TRL wants a reference model, so that it makes none: its log-probabilities are part of the rows.

    Without it TRL puts a copy of the adapter beside the trained one, which not every method allows and which would be
    saved with it.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def forward(self, *_: Any, **__: Any) -> None:
        """Never asked."""
        raise AssertionError("the reference's log-probabilities are part of the rows")


def _dev_pairs(begun: TrainingContext) -> tuple[list[PairRow], Check]:
    job, recipe = begun.job, begun.recipe
    if not job.dev_pairs:
        return [], no_dev("pairs")
    drawn = draw_rows(job.dev_pairs, recipe.evaluate_on, seed=job.seed)
    return fitting_preferences(pair_rows(begun.tokenizer, drawn), longest=begun.longest, kind="dev pairs")


def no_dev(kind: str) -> Check:
    """Return the check that says what is lost without rows to evaluate on."""
    detail = f"there are no dev {kind}: no early stopping, and the last weights are kept, not the best"
    return Check(name=f"dev {kind} that fit", status="warning", detail=detail)


def _told_apart(pairs: Sequence[Pair]) -> tuple[list[Pair], Check]:
    """Leave out pairs of equal answers: they prefer nothing.

    Raises:
        StageFailed: If no pair is left.
    """
    name, same = "pairs that differ", [pair.id for pair in pairs if pair.chosen == pair.rejected]
    if not same:
        return list(pairs), Check(name=name, status="ok", detail=f"the two answers of all {len(pairs):,} pairs differ")
    if len(same) == len(pairs):
        raise StageFailed(f"the two answers of all {len(pairs):,} pairs are equal, so there is nothing to prefer")
    detail = f"{len(same):,} of {len(pairs):,} pairs have two equal answers and were left out"
    return (
        [pair for pair in pairs if pair.chosen != pair.rejected],
        Check(name=name, status="warning", detail=detail, items=tuple(same[:_SHOWN])),
    )


def _example(name: str, prompt: Messages, answer: str) -> Example:
    return Example(id=name, prompt=prompt, answer=answer)
