"""Reward models with TRL: one number an answer, higher for the chosen one of each pair."""

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from harness.inference.models.loading import load_tokenizer
from harness.inference.models.reward import load_reward, rewards
from harness.recipes import RewardModel
from harness.training.network import attend_fast
from harness.training.preferences.dpo import pair_settings
from harness.training.preferences.pairs import PairRow, pair_rows, pairs_ready
from harness.training.reward_head import scores_in_memory
from harness.training.rows import IGNORED, Collated, check_parity
from harness.training.session import TrainingContext, TrainingSession, carry_out, steps_of
from harness.training.trl_base import Formatted
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress
from harness.types.samples import Check, Pair

_LOGGED = {
    "margin": "reward_margin",
    "accuracy": "reward_accuracy",
    "eval_margin": "dev_reward_margin",
    "eval_accuracy": "dev_reward_accuracy",
}
_HELD_OUT = "held-out pairs in order"
# What rounding alone changes in a reward, as a share of its size.
_ROUNDING_FLOAT32, _ROUNDING_HALF = 1e-4, 0.02


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (a RewardModel) on `job.pairs`, and return the model of the best loss on `job.dev_pairs`.

    The folder holds what `harness.inference.models.reward.load_reward` loads. The share of all held-out pairs that the
    saved model orders rightly is among the checks; below the recipe's `at_least` it makes the evidence invalid.

    Raises:
        StageFailed: As `harness.training.session.carry_out` does, and if there is no pair to learn from.
    """
    return carry_out(job, RewardModel, _prepare, progress=progress)


def held_out_check(network: Any, tokenizer: Any, pairs: Sequence[Pair], *, at_least: float) -> Check:
    """Return the check of how many of `pairs` the reward model orders rightly; a tie is wrong."""
    if not pairs:
        detail = "there are no held-out pairs, so that nothing is known of the reward model; give dev pairs"
        return Check(name=_HELD_OUT, status="warning" if at_least == 0 else "invalid", detail=detail)
    rows = pair_rows(tokenizer, pairs)
    found = rewards(network, tokenizer, [[*part.prompt, *part.answer] for row in rows for part in row.rows])
    right = sum(chosen > rejected for chosen, rejected in zip(found[::2], found[1::2], strict=True))
    share = right / len(pairs)
    facts = f"the reward model orders {right:,} of {len(pairs):,} held-out pairs rightly ({share:.1%}; half is chance)"
    if share >= at_least:
        return Check(name=_HELD_OUT, status="ok", detail=facts)
    detail = (
        f"{facts}, where at_least={at_least:g} is asked for: what learns from it would learn noise; give more pairs"
    )
    return Check(name=_HELD_OUT, status="invalid", detail=detail)


def _prepare(begun: TrainingContext) -> TrainingSession:
    job, recipe, tokenizer = begun.job, begun.recipe, begun.tokenizer
    pairs = pairs_ready(begun, reference=False)
    attend_fast(begun.network, begun.precision, longest=pairs.longest)
    rows = [pair.chosen for pair in pairs.train]
    before = scores_in_memory(begun.network, rows)
    collator = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    trainer = ScoreTrainer(
        precision=begun.precision,
        model=begun.network,
        args=RewardConfig(**pair_settings(begun, len(rows)), max_length=None),
        train_dataset=Dataset.from_list([_features(row) for row in pairs.train]),
        eval_dataset=Dataset.from_list([_features(row) for row in pairs.dev]) if pairs.dev else None,
        data_collator=collator,
        processing_class=tokenizer,
    )
    served = load_tokenizer(begun.ground.model)

    def afterwards() -> tuple[Check, ...]:
        saved = load_reward(begun.ground.model, job.folder / "adapter")
        return (
            _changed(before, scores_in_memory(saved, rows), exact=begun.precision.weights is torch.float32),
            held_out_check(saved, served, job.dev_pairs, at_least=recipe.at_least),
        )

    return TrainingSession(
        trainer=trainer,
        rows=rows,
        steps=steps_of(recipe, len(rows)),
        evaluates=bool(pairs.dev),
        checks=(*pairs.checks, _collated_parity(pairs.train, collator, served)),
        likelihood=False,
        logged=_LOGGED,
        environment=lambda: {"train_pairs": len(rows), "dev_pairs": len(job.dev_pairs)},
        later=afterwards,
    )


def _features(row: PairRow) -> dict[str, list[int]]:
    return {
        "chosen_ids": [*row.chosen.prompt, *row.chosen.answer],
        "rejected_ids": [*row.rejected.prompt, *row.rejected.answer],
    }


def _collated_parity(rows: Sequence[PairRow], collator: Any, serving: Any) -> Check:
    """Return the check that what the collator yields is the served prompt and the whole answer."""
    found = []
    for row in rows:
        batch = collator([_features(row)])
        for ids, mask, part in zip(batch["input_ids"], batch["attention_mask"], row.rows, strict=True):
            seen = tuple(ids[mask.bool()].tolist())
            prompt = len(part.prompt)
            found.append(Collated(seen, (IGNORED,) * prompt + seen[prompt:]))  # it has no labels: all is read
    return check_parity(found, [part.example for row in rows for part in row.rows], serving)


def _changed(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], *, exact: bool) -> Check:
    """Return the check that training changed the rewards by more than rounding does.

    Args:
        exact: Both were computed in float32.
    """
    name = "training changes the rewards"
    largest = max(float((one - other).abs()) for one, other in zip(before, after, strict=True))
    size = max(float(one.abs()) for one in (*before, *after))
    if largest <= size * (_ROUNDING_FLOAT32 if exact else _ROUNDING_HALF):
        detail = "training changes no reward (a learning rate of 0?): what would be learned from is a random head"
        return Check(name=name, status="invalid", detail=detail)
    return Check(name=name, status="ok", detail=f"by up to {largest:.3g} on {len(before)} training rows")


class ScoreTrainer(Formatted, RewardTrainer):  # type: ignore[misc]
    """RewardTrainer on the run's terms."""
