"""Learning from pairs with TRL: DPO and its kin against a reference, SimPO without one.

TRL's trainers of pairs that have no reference, on ready rows.

ORPO with TRL: the chosen answer's own loss, and its odds over the rejected one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from harness.recipes import DPO, ORPO
from harness.training.config import Precision, Unpublished, shared_settings
from harness.training.network import attend_fast
from harness.training.preferences.pairs import (
    LOGGED,
    NoReference,
    PreferenceRows,
    pair_collator,
    pair_parity,
    pairs_ready,
    scored_pairs,
)
from harness.training.session import TrainingContext, TrainingSession, carry_out, steps_of
from harness.training.trl_base import ReferencedRows
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress


class UnreferencedRows(Unpublished):
    """Beside a trainer without a reference: rows are token ids, and the losses are those of the answers' tokens."""

    def __init__(self, *, precision: Precision, **arguments: Any) -> None:
        self._precision = precision
        super().__init__(**arguments)

    def tokenize_row(self, feature: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        """Leave the row as it is."""
        return feature

    def concatenated_forward(self, model: Any, batch: Any) -> tuple[torch.Tensor, ...]:
        """Return mean log-probabilities a token of chosen and rejected answers, their logits, and the chosen's loss."""
        return answer_means(model, batch, self._precision)


def answer_means(model: Any, batch: Any, precision: Precision) -> tuple[torch.Tensor, ...]:
    """Return what TRL's losses without a reference take.

    Mean log-probability of an answer's token for the chosen and for the rejected rows, (pairs,) each; the logits of
    their tokens; and the mean loss of the chosen answers' tokens. TRL's own count the prompt's tokens in the last.
    """
    with precision.computing():
        found = scored_pairs(model, batch)
    pairs = len(found.sums) // 2
    means, chosen = found.sums / found.tokens, found.owner < pairs
    return (
        means[:pairs],
        means[pairs:],
        found.logits[chosen],
        found.logits[~chosen],
        -found.each[chosen].mean(),
    )


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (a DPO) on `job.pairs`, and return the system of the best loss on `job.dev_pairs`.

    The reference is the model that training starts from, adapter of an earlier step included.

    Raises:
        StageFailed: As `harness.training.session.carry_out` does, and if there is no pair to learn from.
    """
    return carry_out(job, DPO, _prepare, progress=progress)


def _prepare(begun: TrainingContext) -> TrainingSession:
    free = begun.recipe.loss == "simpo"
    pairs = pairs_ready(begun, reference=not free)
    attend_fast(begun.network, begun.precision, longest=pairs.longest)
    trainer = _simpo_trainer(begun, pairs) if free else _dpo_trainer(begun, pairs)
    return pair_course(begun, pairs, trainer)


def pair_course(begun: TrainingContext, pairs: PreferenceRows, trainer: Any) -> TrainingSession:
    """Return the course of a trainer of pairs."""
    return TrainingSession(
        trainer=trainer,
        rows=[pair.chosen for pair in pairs.train],
        steps=steps_of(begun.recipe, len(pairs.train)),
        evaluates=bool(pairs.dev),
        checks=(*pairs.checks, pair_parity(begun, pairs.train)),
        likelihood=False,
        logged=LOGGED,
        environment=lambda: {"train_pairs": len(pairs.train), "dev_pairs": len(pairs.dev)},
    )


def pair_settings(begun: TrainingContext, rows: int) -> dict[str, Any]:
    """Return the settings that all trainers on ready rows share; nothing is cut, rows too long were left out."""
    return {
        **shared_settings(begun, steps=steps_of(begun.recipe, rows)),
        "include_num_input_tokens_seen": "non_padding",
    }


def pair_data(begun: TrainingContext, pairs: PreferenceRows) -> dict[str, Any]:
    """Return model, rows and collator as TRL's trainers of pairs take them."""
    return {
        "model": begun.network,
        "train_dataset": Dataset.from_list([row.features() for row in pairs.train]),
        "eval_dataset": Dataset.from_list([row.features() for row in pairs.dev]) if pairs.dev else None,
        "data_collator": pair_collator(begun.tokenizer),
        "processing_class": begun.tokenizer,
    }


def _dpo_trainer(begun: TrainingContext, pairs: PreferenceRows) -> "PairTrainer":
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


def _simpo_trainer(begun: TrainingContext, pairs: PreferenceRows) -> "UnreferencedTrainer":
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


def fit_orpo(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (an ORPO) on `job.pairs`, and return the system of the best loss on `job.dev_pairs`.

    Raises:
        StageFailed: As `harness.training.session.carry_out` does, and if there is no pair to learn from.
    """
    return carry_out(job, ORPO, _prepare_orpo, progress=progress)


def _prepare_orpo(begun: TrainingContext) -> TrainingSession:
    pairs = pairs_ready(begun, reference=False)
    attend_fast(begun.network, begun.precision, longest=pairs.longest)
    with no_map_bars():
        trainer = OddsTrainer(
            precision=begun.precision,
            args=ORPOConfig(
                **pair_settings(begun, len(pairs.train)),
                beta=begun.recipe.beta,
                max_length=begun.longest,
                remove_unused_columns=False,
            ),
            **pair_data(begun, pairs),
        )
    return pair_course(begun, pairs, trainer)


class OddsTrainer(UnreferencedRows, ORPOTrainer):  # type: ignore[misc]
    """ORPOTrainer on ready pairs."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.use_dpo_data_collator = True  # else TRL warns at each evaluation of a collator that is not its own
