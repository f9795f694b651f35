"""Direct preference optimisation and its kin: learn from pairs of a better and a worse answer.

The file of pairs or votes that a recipe may name: checked as a path, keyed by its content.

KTO: learn from single answers found good or bad.

ORPO: supervised tuning and preference in one loss, without a reference.

A reward model: which of two answers would be preferred, as one number an answer.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from harness.errors import InvalidData
from harness.fingerprint import file_sha256
from harness.recipes.base import Trained


def as_path(given: object) -> str | None:
    """Return the declared file as text, the form that has a fingerprint; None if there is none."""
    return None if given is None else str(given)


def key_of(path: str | None) -> str | None:
    """Return the sha256 of the file's bytes, None if no file is named.

    Raises:
        InvalidData: If the file is missing.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise InvalidData(
            f"{path}: no such file; paths are taken from the folder {Path.cwd()}, and "
            "`harness data pairs EXPERIMENT` writes one from stored answers"
        )
    return file_sha256(Path(path))


PairLoss = Literal["sigmoid", "ipo", "hinge", "robust", "apo_zero", "apo_down", "simpo"]
_BETA, _SIMPO_BETA = 0.1, 2.0


@dataclass(frozen=True, kw_only=True)
class DPO(Trained):
    """Raise the chosen answer above the rejected one, held to the model that training starts from.

    Args:
        pairs: File of preference rows (prompt, chosen, rejected); None takes the task's own `Sample.rejected`.
        beta: How tightly the policy is held to its reference, in SimPO the scale of the reward; None is 0.1, for SimPO
            2.
        loss: "sigmoid" is DPO (Rafailov et al. 2023), "ipo" Azar et al. 2023, "hinge" SLiC (Zhao et al. 2023), "robust"
            Chowdhury et al. 2024, "apo_zero" and "apo_down" D'Oosterlinck et al. 2024; "simpo" (Meng et al. 2024)
            compares mean log-probabilities of a token and needs no reference.
        margin: SimPO's target margin of the reward, 0 or more.
        label_smoothing: Share of pairs believed to be swapped, for "robust"; 0 or more, below 0.5.
        sft_weight: Weight of the chosen answer's own loss, added to that of the pair; 0 or more.

    The other fields are those of `SFT`, from `adapter` to `label`.

    Raises:
        InvalidExperiment: If a field is out of its range, or two contradict each other.

    Examples:
        >>> DPO(pairs="pairs.jsonl", beta=0.2).name
        'dpo lora-r16 pairs=pairs.jsonl beta=0.2'
    """

    pairs: str | None = None
    beta: float | None = None
    loss: PairLoss = "sigmoid"
    margin: float = 1.0
    label_smoothing: float = 0.0
    sft_weight: float = 0.0

    trainer: ClassVar[str] = "harness.training.preferences.dpo:fit"
    method: ClassVar[str] = "dpo"
    # TRL's default for all weights is 1e-6, that of SFT 2e-5.
    rate_factor: ClassVar[float] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pairs", as_path(self.pairs))
        if self.loss not in get_args(PairLoss):
            raise self.refused(f"loss={self.loss!r}", f"give one of {', '.join(get_args(PairLoss))}")
        if not (math.isfinite(self.strength) and self.strength > 0):
            raise self.refused(f"beta={self.beta}", "give a number above 0, such as 0.1")
        if not 0 <= self.label_smoothing < 0.5:
            raise self.refused(f"label_smoothing={self.label_smoothing}", "give 0 or more, below 0.5")
        if self.label_smoothing and self.loss != "robust":
            raise self.refused(f"label_smoothing={self.label_smoothing}, loss={self.loss!r}", 'add loss="robust"')
        if not (math.isfinite(self.sft_weight) and self.sft_weight >= 0):
            raise self.refused(f"sft_weight={self.sft_weight}", "give a number of 0 or more")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise self.refused(f"margin={self.margin}", "give a number of 0 or more")

    @property
    def strength(self) -> float:
        """beta, with its default filled in."""
        if self.beta is not None:
            return self.beta
        return _SIMPO_BETA if self.loss == "simpo" else _BETA

    def content_key(self) -> str | None:
        """Return the sha256 of the pairs file, None if the task brings the pairs."""
        return key_of(self.pairs)


@dataclass(frozen=True, kw_only=True)
class KTO(Trained):
    """Raise good answers and lower bad ones, held to the model that training starts from (Ethayarajh et al. 2024).

    Args:
        votes: File of rows with prompt, completion and label (true is good), or of preference rows, whose two answers
            are a good and a bad one; None takes the task's own references and `Sample.rejected`.
        beta: How tightly the policy is held to its reference, above 0.
        desirable_weight: Of good answers, above 0; weigh the rarer kind up if they are unequal.
        undesirable_weight: Of bad answers, above 0.

    The other fields are those of `SFT`, from `adapter` to `label`.

    Raises:
        InvalidExperiment: If a field is out of its range, or fewer than two answers are in memory at once.

    Examples:
        >>> KTO(votes="votes.jsonl").name
        'kto lora-r16 votes=votes.jsonl'
    """

    votes: str | None = None
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    trainer: ClassVar[str] = "harness.training.preferences.kto:fit"
    method: ClassVar[str] = "kto"
    # TRL's default for all weights is 1e-6, the paper's 5e-7; SFT takes 2e-5.
    rate_factor: ClassVar[float] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "votes", as_path(self.votes))
        for name in ("beta", "desirable_weight", "undesirable_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise self.refused(f"{name}={value}", "give a number above 0")
        if (self.micro_batch_size or self.batch_size) < 2:
            # The divergence is estimated from answers that stand beside another prompt of the batch.
            raise self.refused(
                f"batch_size={self.batch_size}, micro_batch_size={self.micro_batch_size}",
                "the divergence from the reference is estimated within a batch in memory; give 2 or more",
            )

    def content_key(self) -> str | None:
        """Return the sha256 of the votes file, None if the task brings the votes."""
        return key_of(self.votes)


@dataclass(frozen=True, kw_only=True)
class ORPO(Trained):
    """Learn the chosen answer, and its odds over the rejected one (Hong et al. 2024).

    Args:
        pairs: File of preference rows (prompt, chosen, rejected); None takes the task's own `Sample.rejected`.
        beta: Weight of the odds-ratio term, above 0; the paper's lambda.

    The other fields are those of `SFT`, from `adapter` to `label`.

    Raises:
        InvalidExperiment: If a field is out of its range.

    Examples:
        >>> ORPO(beta=0.2).name
        'orpo lora-r16 beta=0.2'
    """

    pairs: str | None = None
    beta: float = 0.1

    trainer: ClassVar[str] = "harness.training.preferences.dpo:fit_orpo"
    method: ClassVar[str] = "orpo"
    # The paper tunes all weights at 8e-6 where SFT takes 2e-5: most of the loss is SFT's own.
    rate_factor: ClassVar[float] = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pairs", as_path(self.pairs))
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise self.refused(f"beta={self.beta}", "give a number above 0, such as 0.1")

    def content_key(self) -> str | None:
        """Return the sha256 of the pairs file, None if the task brings the pairs."""
        return key_of(self.pairs)


@dataclass(frozen=True, kw_only=True)
class RewardModel(Trained):
    """Train a model with one output to score the chosen answer above the rejected one (Bradley and Terry).

    It answers nothing itself: a step of `Steps` that PPO or RLOO learn from.

    Args:
        pairs: File of preference rows (prompt, chosen, rejected); None takes the task's own `Sample.rejected`.
        at_least: Share of held-out pairs that it must order rightly; below it the evidence is invalid, since what
            learns from a worse model learns noise. 0.5 is chance.

    The other fields are those of `SFT`, from `adapter` to `label`.

    Raises:
        InvalidExperiment: If a field is out of its range.

    Examples:
        >>> Steps([RewardModel(pairs="pairs.jsonl"), PPO()]).name
        'reward lora-r16 pairs=pairs.jsonl then ppo lora-r16'
    """

    pairs: str | None = None
    at_least: float = 0.6

    trainer: ClassVar[str] = "harness.training.preferences.reward_model:fit"
    method: ClassVar[str] = "reward"
    makes: ClassVar[Literal["policy", "reward"]] = "reward"
    # InstructGPT's reward model was tuned at 9e-6, all weights; SFT takes 2e-5.
    rate_factor: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pairs", as_path(self.pairs))
        if not 0 <= self.at_least <= 1:
            raise self.refused(f"at_least={self.at_least}", "is a share of pairs; give 0 <= at_least <= 1")

    def content_key(self) -> str | None:
        """Return the sha256 of the pairs file, None if the task brings the pairs."""
        return key_of(self.pairs)
