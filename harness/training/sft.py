"""Supervised fine-tuning with TRL: from a TuneJob to a tuned system on disk, with its log and its checks."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from datasets import Dataset

from harness.errors import StageFailed
from harness.inference.models.loading import load_tokenizer
from harness.recipes import SFT
from harness.training.distributed.launch import train_together
from harness.training.ewc import Consolidation, consolidate
from harness.training.external.run import fit_outside
from harness.training.network import attend_fast
from harness.training.rows import (
    TokenizedRow,
    check_parity,
    collated_rows,
    draw_rows,
    make_rows,
    rows_that_fit,
    with_earlier_turns,
)
from harness.training.session import TrainingContext, TrainingSession, carry_out, steps_of
from harness.training.sft_trainer import AnswerTrainer, trainer_config
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress
from harness.types.samples import Check


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (an SFT) on `job.train`, and return the system of the best dev loss.

    A recipe that names another tuner is carried out by that one. Where several devices share a recipe, their processes
    train, and this one makes the tuned system of what they leave.

    Raises StageFailed as `harness.training.session.carry_out` does.
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
    holding, held_checks = _held(begun)
    steps = steps_of(recipe, len(rows))
    config = trainer_config(
        recipe,
        folder=begun.checkpoints,
        seed=job.seed,
        steps=steps,
        every=recipe.evaluate_every or math.ceil(steps / 10),
        precision=begun.precision,
        settings=settings,
    )
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


def _held(begun: TrainingContext) -> tuple[Consolidation | None, tuple[Check, ...]]:
    """Return what holds the weights that earlier tasks need, where the recipe asks for it."""
    job, recipe = begun.job, begun.recipe
    if recipe.keep is None:
        return None, ()
    return consolidate(
        begun.network,
        recipe.keep,
        job.earlier,
        tokenizer=begun.tokenizer,
        longest=begun.longest,
        seed=job.seed,
        autocast=begun.precision.autocast,
    )


def _dev_rows(job: TuneJob, recipe: SFT, tokenizer: Any, longest: int | None) -> tuple[list[TokenizedRow], Check]:
    if not job.dev:
        detail = "there are no dev examples: no early stopping, and the last weights are kept, not the best"
        return [], Check(name="dev rows that fit", status="warning", detail=detail)
    return rows_that_fit(
        make_rows(tokenizer, draw_rows(job.dev, recipe.evaluate_on, seed=job.seed)), longest=longest, kind="dev"
    )
