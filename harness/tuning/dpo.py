"""Learning from pairs with TRL: DPO and its kin against a reference, SimPO without one."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer

from harness.jobs import TuneJob, TuneResult
from harness.protocols import Progress
from harness.recipes import DPO
from harness.tuning.course import Begun, Course, carry_out, steps_of
from harness.tuning.network import attend_fast
from harness.tuning.preferences import (
    LOGGED,
    NoReference,
    Preferences,
    pair_collator,
    pair_parity,
    pairs_ready,
)
from harness.tuning.settings import shared_settings
from harness.tuning.trl_trainers import ReferencedRows
from harness.tuning.unreferenced import UnreferencedRows


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (a DPO) on `job.pairs`, and return the system of the best loss on `job.dev_pairs`.

    The reference is the model that training starts from, adapter of an earlier step included.

    Raises StageFailed as `harness.tuning.course.carry_out` does, and where there is no pair to learn from.
    """
    return carry_out(job, DPO, _prepare, progress=progress)


def _prepare(begun: Begun) -> Course:
    free = begun.recipe.loss == "simpo"
    pairs = pairs_ready(begun, reference=not free)
    attend_fast(begun.network, begun.precision, longest=pairs.longest)
    trainer = _simpo_trainer(begun, pairs) if free else _dpo_trainer(begun, pairs)
    return pair_course(begun, pairs, trainer)


def pair_course(begun: Begun, pairs: Preferences, trainer: Any) -> Course:
    """Return the course of a trainer of pairs."""
    return Course(
        trainer=trainer,
        rows=[pair.chosen for pair in pairs.train],
        steps=steps_of(begun.recipe, len(pairs.train)),
        evaluates=bool(pairs.dev),
        checks=(*pairs.checks, pair_parity(begun, pairs.train)),
        likelihood=False,
        logged=LOGGED,
        environment=lambda: {"train_pairs": len(pairs.train), "dev_pairs": len(pairs.dev)},
    )


def pair_settings(begun: Begun, rows: int) -> dict[str, Any]:
    """Return the settings that all trainers on ready rows share; nothing is cut, rows too long were left out."""
    recipe = begun.recipe
    steps = steps_of(recipe, rows)
    return {
        **shared_settings(
            recipe,
            folder=begun.checkpoints,
            seed=begun.job.seed,
            steps=steps,
            every=recipe.evaluate_every or math.ceil(steps / 10),
            precision=begun.precision,
        ),
        "include_num_input_tokens_seen": "non_padding",
    }


def pair_data(begun: Begun, pairs: Preferences) -> dict[str, Any]:
    """Return model, rows and collator as TRL's trainers of pairs take them."""
    return {
        "model": begun.network,
        "train_dataset": Dataset.from_list([row.features() for row in pairs.train]),
        "eval_dataset": Dataset.from_list([row.features() for row in pairs.dev]) if pairs.dev else None,
        "data_collator": pair_collator(begun.tokenizer),
        "processing_class": begun.tokenizer,
    }


def _dpo_trainer(begun: Begun, pairs: Preferences) -> "PairTrainer":
    recipe: DPO = begun.recipe
    mixed = recipe.sft_weight > 0
    return PairTrainer(
        precision=begun.precision,
        ref_model=NoReference(begun.network.config),
        args=DPOConfig(
            **pair_settings(begun, len(pairs.train)),
            beta=recipe.strength,
            loss_type=[recipe.loss, "sft"] if mixed else [recipe.loss],
            loss_weights=[1.0, recipe.sft_weight] if mixed else None,
            label_smoothing=recipe.label_smoothing,
            max_length=None,
            precompute_ref_log_probs=True,
        ),
        **pair_data(begun, pairs),
    )


def _simpo_trainer(begun: Begun, pairs: Preferences) -> "UnreferencedTrainer":
    recipe: DPO = begun.recipe
    with no_map_bars():
        return UnreferencedTrainer(
            precision=begun.precision,
            args=CPOConfig(
                **pair_settings(begun, len(pairs.train)),
                beta=recipe.strength,
                loss_type="simpo",
                simpo_gamma=recipe.margin,
                cpo_alpha=recipe.sft_weight,
                max_length=begun.longest,
                remove_unused_columns=False,
            ),
            **pair_data(begun, pairs),
        )


@contextmanager
def no_map_bars() -> Iterator[None]:
    """Switch off the bars that datasets draws where TRL passes over ready rows."""
    hidden = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            enable_progress_bars()


class PairTrainer(ReferencedRows, DPOTrainer):  # type: ignore[misc]
    """DPOTrainer on ready pairs."""


class UnreferencedTrainer(UnreferencedRows, CPOTrainer):  # type: ignore[misc]
    """CPOTrainer on ready pairs."""
