"""Learning from pairs with TRL: DPO and its kin against a reference, SimPO without one."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer

from harness.jobs import TuneJob, TuneResult
from harness.protocols import Progress
from harness.recipes import DPO
from harness.tuning.course import Begun, Course, carry_out, steps_of
from harness.tuning.network import attend_fast
from harness.tuning.precision import Precision
from harness.tuning.preferences import (
    LOGGED,
    NoReference,
    Preferences,
    autocast,
    pair_collator,
    pair_parity,
    pairs_ready,
    scored,
)
from harness.tuning.settings import shared_settings


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


class PairTrainer(DPOTrainer):  # type: ignore[misc]
    """DPOTrainer on ready token ids that hold the reference's log-probabilities."""

    def __init__(self, *, precision: Precision, **arguments: Any) -> None:
        self._precision = precision
        super().__init__(**arguments)

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        """Return TRL's loss, computed in the run's number formats."""
        with autocast(self._precision):
            return super().compute_loss(*arguments, **named)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write no card: a checkpoint is no publication."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """Leave the rows as they are: tokens of the served prompt and of the answers."""
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """Leave the rows as they are: the reference's log-probabilities are in them."""
        return dataset

    def _send_telemetry(self) -> None:
        """Send nothing anywhere."""


class UnreferencedTrainer(CPOTrainer):  # type: ignore[misc]
    """CPOTrainer on ready token ids, with its losses on the answers' tokens only."""

    def __init__(self, *, precision: Precision, **arguments: Any) -> None:
        self._precision = precision
        super().__init__(**arguments)

    def tokenize_row(self, feature: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        """Leave the row as it is."""
        return feature

    def concatenated_forward(self, model: Any, batch: Any) -> tuple[torch.Tensor, ...]:
        """Return mean log-probabilities a token of chosen and rejected answers, their logits, and the chosen's loss."""
        return answer_means(model, batch, self._precision)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write no card: a checkpoint is no publication."""

    def _send_telemetry(self) -> None:
        """Send nothing anywhere."""


def answer_means(model: Any, batch: Any, precision: Precision) -> tuple[torch.Tensor, ...]:
    """Return what TRL's losses without a reference take.

    Mean log-probability of an answer's token for the chosen and for the rejected rows, (pairs,) each; the logits of
    their tokens; and the mean loss of the chosen answers' tokens. TRL's own count the prompt's tokens in the last.
    """
    with autocast(precision):
        found = scored(model, batch)
    pairs = len(found.sums) // 2
    means, chosen = found.sums / found.tokens, found.owner < pairs
    return (
        means[:pairs],
        means[pairs:],
        found.logits[chosen],
        found.logits[~chosen],
        -found.each[chosen].mean(),
    )
