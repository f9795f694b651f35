"""KTO with TRL: single answers, found good or bad, against a reference."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from harness.errors import StageFailed
from harness.inference.models.loading import load_tokenizer
from harness.recipes import KTO
from harness.training.network import attend_fast
from harness.training.preferences.dpo import pair_settings
from harness.training.preferences.pairs import (
    LOGGED,
    NoReference,
    VoteRow,
    collated,
    fitting_preferences,
    no_dev,
    pair_collator,
    pair_labels,
    reference_sums,
    vote_rows,
)
from harness.training.rows import check_parity, draw_rows
from harness.training.session import TrainingContext, TrainingSession, carry_out, steps_of
from harness.training.trl_base import ReferencedRows
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress
from harness.types.samples import Check

# Weighted good over weighted bad answers: the range that the paper advises (its equation 8).
_LOWEST, _HIGHEST = 1.0, 4 / 3


@dataclass(frozen=True, slots=True)
class _Beside:
    """A row with an answer of its batch that belongs to another prompt, from which the divergence is estimated."""

    row: VoteRow
    other: tuple[int, ...]


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (a KTO) on `job.votes`, and return the system of the best loss on `job.dev_votes`.

    The reference is the model that training starts from, adapter of an earlier step included.

    Raises:
        StageFailed: As `harness.training.session.carry_out` does, and if there is no vote to learn from.
    """
    return carry_out(job, KTO, _prepare, progress=progress)


def _prepare(begun: TrainingContext) -> TrainingSession:
    job, recipe, tokenizer = begun.job, begun.recipe, begun.tokenizer
    if not job.votes:
        raise StageFailed(
            f"{recipe.name}: there is no vote to learn from; name a file with votes=, of rows with prompt, completion "
            "and label, or give the task's samples a `rejected` answer"
        )
    drawn = draw_rows(job.votes, recipe.limit, seed=job.seed)
    rows, fits = fitting_preferences(vote_rows(tokenizer, drawn), longest=begun.longest, kind="train votes")
    dev, dev_fits = _dev_votes(begun)
    # The trainer takes them in order: the answers beside them are fixed.
    random.Random(job.seed).shuffle(rows)  # noqa: S311 - a shuffle, not a secret
    attend_fast(begun.network, begun.precision, longest=max(row.row.tokens for row in rows))
    trainer = VoteTrainer(
        precision=begun.precision,
        model=begun.network,
        ref_model=NoReference(begun.network.config),
        args=KTOConfig(
            **pair_settings(begun, len(rows)),
            beta=recipe.beta,
            desirable_weight=recipe.desirable_weight,
            undesirable_weight=recipe.undesirable_weight,
            max_length=None,
            precompute_ref_log_probs=True,
        ),
        train_dataset=Dataset.from_list(_features(begun, rows)),
        eval_dataset=Dataset.from_list(_features(begun, dev)) if dev else None,
        data_collator=_collator(tokenizer),
        processing_class=tokenizer,
    )
    checks = (balance(recipe, rows), fits, dev_fits, vote_parity(rows, tokenizer, load_tokenizer(begun.ground.model)))
    return TrainingSession(
        trainer=trainer,
        rows=[row.row for row in rows],
        steps=steps_of(recipe, len(rows)),
        evaluates=bool(dev),
        checks=checks,
        likelihood=False,
        logged={**LOGGED, "kl": "kl", "eval_kl": "dev_kl"},
        environment=lambda: {"train_votes": len(rows), "dev_votes": len(dev)},
    )


def balance(recipe: KTO, rows: Sequence[VoteRow]) -> Check:
    """Return the check of how much good and bad answers weigh against each other."""
    good = sum(row.good for row in rows)
    bad = len(rows) - good
    name, counts = "good and bad answers", f"{good:,} good and {bad:,} bad answers"
    if not good or not bad:
        return Check(name=name, status="warning", detail=f"{counts}: nothing tells what is wanted from what is not")
    ratio = recipe.desirable_weight * good / (recipe.undesirable_weight * bad)
    # Weights are given with two digits or so: the bounds are met with that tolerance.
    if _LOWEST - 0.01 <= ratio <= _HIGHEST + 0.01:
        return Check(name=name, status="ok", detail=f"{counts}, weighed {ratio:.2f} to 1")
    wanted = recipe.undesirable_weight * bad / good
    detail = (
        f"{counts} weigh {ratio:.2f} to 1 where 1 to 1.33 is advised; give desirable_weight={wanted:.3g} "
        f"or undesirable_weight={recipe.desirable_weight * good / bad:.3g}"
    )
    return Check(name=name, status="warning", detail=detail)


def vote_parity(rows: Sequence[VoteRow], tokenizer: Any, serving: Any) -> Check:
    """Return the check "prompt parity" of the rows, as TRL's collator yields them."""
    collator = _collator(tokenizer)
    found = []
    for row in rows:
        batch = collator([_ids(row)])
        found.append(collated(batch["input_ids"][0], pair_labels(batch)[0], batch["attention_mask"][0]))
    return check_parity(found, [row.row.example for row in rows], serving)


def _dev_votes(begun: TrainingContext) -> tuple[list[VoteRow], Check]:
    job, recipe = begun.job, begun.recipe
    if not job.dev_votes:
        return [], no_dev("votes")
    drawn = draw_rows(job.dev_votes, recipe.evaluate_on, seed=job.seed)
    return fitting_preferences(vote_rows(begun.tokenizer, drawn), longest=begun.longest, kind="dev votes")


def _features(begun: TrainingContext, rows: Sequence[VoteRow]) -> list[dict[str, Any]]:
    """Return the rows with the answers beside them, and the reference's log-probability of both."""
    beside = _beside(rows, size=begun.recipe.micro_batch_size or begun.recipe.batch_size, longest=begun.longest)
    pairs = [
        [{"prompt_ids": [*one.row.row.prompt], "chosen_ids": [*one.row.row.answer], "rejected_ids": [*one.other]}]
        for one in beside
    ]
    sums = reference_sums(begun, pairs, pair_collator(begun.tokenizer), rows_each=2)
    return [
        {**_ids(one.row), "KL_completion_ids": [*one.other], "ref_logps": own, "ref_KL_logps": other}
        for one, (own, other) in zip(beside, sums, strict=True)
    ]


def _beside(rows: Sequence[VoteRow], *, size: int, longest: int | None) -> list[_Beside]:
    """Give each row the answer of the row before it in its batch, the first one that of the last.

    An answer that does not fit behind another's prompt is cut: it is only weighed.
    """
    found = []
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        for place, row in enumerate(batch):
            room = None if longest is None else max(1, longest - len(row.row.prompt))
            found.append(_Beside(row, batch[place - 1].row.answer[:room]))
    return found


def _ids(row: VoteRow) -> dict[str, Any]:
    return {"prompt_ids": [*row.row.prompt], "completion_ids": [*row.row.answer], "label": row.good}


def _collator(tokenizer: Any) -> DataCollatorForUnpairedPreference:
    return DataCollatorForUnpairedPreference(pad_token_id=tokenizer.pad_token_id, max_length=None)


class VoteTrainer(ReferencedRows, KTOTrainer):  # type: ignore[misc]
    """KTOTrainer on ready votes."""
