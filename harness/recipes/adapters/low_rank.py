"""Low-rank updates beside frozen layers.

Low-rank updates whose ranks are handed out while training, to the layers that gain most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment
from harness.recipes.adapters.protocol import Adapter, Targets, TunerAdapter
from harness.types.shapes import Linear, ModelShape

# Best LoRA rate is about ten times full fine-tuning's, on all linear layers (Thinking Machines, LoRA Without Regret).
_LEARNING_RATE = 3e-4
_RATES = (1e-4, 2e-3)
_STABILISED_ALPHA = 8.0
# A step over that of plain LoRA, whose products alone are fused (docs/methods.md).
_UNFUSED_COST = 2.1

Init = Literal["default", "pissa", "olora", "loftq", "eva"]
_INITS = ("default", "pissa", "olora", "loftq", "eva")


class LowRank(Adapter):
    """What LoRA and its variants have in common: updates of a rank, scaled, beside linear layers."""

    rank: int
    alpha: float | None
    dropout: float
    targets: Targets
    rslora: bool = False
    dora: bool = False
    init: Init = "default"

    learning_rate: ClassVar[float] = _LEARNING_RATE
    rates: ClassVar[tuple[float, float]] = _RATES
    merges: ClassVar[bool] = True
    pads: ClassVar[bool] = True

    @property
    def scale(self) -> float:
        """alpha, with its default filled in."""
        return _usual_scale(self) if self.alpha is None else self.alpha

    @property
    def for_tuners(self) -> TunerAdapter:
        return TunerAdapter(
            kind="lora" if self.quantization is None else "qlora",
            rank=self.rank,
            scale=self.scale,
            dropout=self.dropout,
            targets=self.targets,
            rslora=self.rslora,
            dora=self.dora,
            starts_at_zero=self.init == "default",
        )

    def trained_parameters(self, shape: ModelShape) -> int:
        chosen = shape.targeted(self.targets)
        return shape.layers * sum(_update(one, self.rank) + (one.width_out if self.dora else 0) for one in chosen)

    def module_names(self) -> Mapping[str, Sequence[str]]:
        return named_targets(self.targets)


@dataclass(frozen=True)
class LoRA(LowRank):
    """Low-rank updates beside frozen linear layers (Hu et al. 2021).

    Whatever the start, the saved update fits the model as it was declared; after pissa, olora and loftq it is twice as
    wide, since the start is taken out of it again.

    Args:
        rank: Width of the update, 1 or more.
        alpha: Its scale is alpha / rank; None is 2 * rank.
        dropout: Share of the inputs that a step leaves out, 0 or more, below 1.
        targets: "all-linear" is every linear layer but the output head, or names of modules such as
            ("q_proj", "v_proj").
        rslora: The scale is alpha / sqrt(rank), so that a wider update does not learn faster (Kalajdzievski 2023), and
            alpha's default 8, which at rank 16 is the scale of 2 that plain LoRA has at any rank.
        dora: A layer's length and direction are trained apart (Liu et al. 2024); vLLM serves it only when merged.
        init: How the update starts. "default" is an update of zero. "pissa" (Meng et al. 2024) and "olora" (Buyukakyuz
            2024) move the leading singular or orthonormal directions of a weight into the update, and "eva" (Paischer
            et al. 2024) starts from the directions of what the training rows make each layer see, and gives ranks to
            the layers in which they explain most. "loftq" (Li et al. 2023) trains on weights as they are after 4-bit
            quantisation, with the update starting from what that lost.

    Raises:
        InvalidExperiment: If a field is out of its range, or `dora` and `init` are given together.

    Examples:
        >>> LoRA(rank=8, rslora=True).name
        'lora-r8-rslora'
    """

    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    targets: Targets = "all-linear"
    rslora: bool = field(default=False, metadata={"key": "changed"})
    dora: bool = field(default=False, metadata={"key": "changed"})
    init: Init = field(default="default", metadata={"key": "changed"})

    support: ClassVar[str] = "harness.training.adapter_setup:LoRASupport"
    splits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_low_rank(self)
        if self.init not in _INITS:
            raise InvalidExperiment(f"LoRA(init={self.init!r}): give one of {', '.join(_INITS)}")
        if self.dora and self.init != "default":
            raise InvalidExperiment(
                f"LoRA(dora=True, init={self.init!r}): both change how an update starts; give one of them"
            )

    @property
    def name(self) -> str:
        kind = "dora" if self.dora else "lora"
        options = [*(["rslora"] if self.rslora else []), *([self.init] if self.init != "default" else [])]
        return "-".join([_low_rank_name(kind, self), *options])

    @property
    def step_cost(self) -> float:
        return _UNFUSED_COST if self.dora or self.init == "eva" else 1.0


def DoRA(  # noqa: N802 - a noun of the declarations, as LoRA is
    rank: int = 16, alpha: float | None = None, dropout: float = 0.0, targets: Targets = "all-linear"
) -> LoRA:
    """Return the LoRA that trains a layer's length and direction apart (Liu et al. 2024).

    Args:
        rank: As in `LoRA`.
        alpha: As in `LoRA`.
        dropout: As in `LoRA`.
        targets: As in `LoRA`.

    Examples:
        >>> DoRA(rank=8) == LoRA(rank=8, dora=True)
        True
    """
    return LoRA(rank=rank, alpha=alpha, dropout=dropout, targets=targets, dora=True)


@dataclass(frozen=True)
class QLoRA(LowRank):
    """LoRA on a base stored in 4 bits: NF4 with double quantisation (Dettmers et al. 2023).

    The tuned system is served on the base as the experiment's model loads it, which is not quantised; the run measures
    what that changes.

    Args:
        rank: As in `LoRA`.
        alpha: As in `LoRA`.
        dropout: As in `LoRA`.
        targets: As in `LoRA`.

    Raises:
        InvalidExperiment: If a field is out of its range.

    Examples:
        >>> QLoRA(rank=32).name
        'qlora-r32'
    """

    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    targets: Targets = "all-linear"

    support: ClassVar[str] = "harness.training.adapter_setup:LoRASupport"
    step_cost: ClassVar[float] = 1.6  # docs/methods.md, as all costs of a step
    quantization: ClassVar[Literal["nf4"]] = "nf4"

    def __post_init__(self) -> None:
        _check_low_rank(self)

    @property
    def name(self) -> str:
        return _low_rank_name("qlora", self)


def lora_parameters(shape: ModelShape, *, rank: int, targets: tuple[str, ...] | str) -> int:
    """Return rank x (in + out) over the targeted linear layers of all blocks (Hu et al. 2021)."""
    return shape.layers * sum(_update(one, rank) for one in shape.targeted(targets))


def named_targets(targets: Targets) -> Mapping[str, Sequence[str]]:
    """Return the module names that `targets` gives."""
    return {} if isinstance(targets, str) else {"targets": targets}


def check_targets(kind: str, targets: Targets) -> Targets:
    """Return the module names as they are kept.

    Raises:
        InvalidExperiment: If they name nothing.
    """
    if isinstance(targets, str) and targets != "all-linear":
        raise InvalidExperiment(
            f'{kind}(targets={targets!r}): give "all-linear" or a tuple of module names: targets=({targets!r},)'
        )
    if not targets:
        raise InvalidExperiment(f'{kind}(targets=()) trains nothing; give "all-linear" or module names')
    # A list would pass every other check and fail only when the declaration is hashed.
    return targets if isinstance(targets, str) else tuple(targets)


def check_dropout(kind: str, dropout: float) -> None:
    """Raise InvalidExperiment if `dropout` is no fraction."""
    if not 0 <= dropout < 1:
        raise InvalidExperiment(f"{kind}(dropout={dropout}) is no fraction; give 0 <= dropout < 1")


def _check_low_rank(adapter: LowRank) -> None:
    kind = type(adapter).__name__
    if adapter.rank < 1:
        raise InvalidExperiment(f"{kind}(rank={adapter.rank}) trains nothing; give a rank of 1 or more, such as 16")
    if adapter.alpha is not None and adapter.alpha <= 0:
        raise InvalidExperiment(f"{kind}(alpha={adapter.alpha}) switches the update off; leave it out for 2 * rank")
    check_dropout(kind, adapter.dropout)
    object.__setattr__(adapter, "targets", check_targets(kind, adapter.targets))


def _update(linear: Linear, rank: int) -> int:
    return rank * (linear.width_in + linear.width_out)


def _usual_scale(adapter: LowRank) -> float:
    return _STABILISED_ALPHA if adapter.rslora else 2.0 * adapter.rank


def _low_rank_name(kind: str, adapter: LowRank) -> str:
    parts = [f"{kind}-r{adapter.rank}"]
    if adapter.alpha is not None and adapter.scale != _usual_scale(adapter):
        parts.append(f"alpha{adapter.scale:g}")
    if adapter.dropout:
        parts.append(f"dropout{adapter.dropout:g}")
    if adapter.targets != "all-linear":
        parts.append("+".join(adapter.targets))
    return "-".join(parts)


@dataclass(frozen=True)
class AdaLoRA(Adapter):
    """Low-rank updates in the form of a singular value decomposition, pruned to a budget (Zhang et al. 2023).

    Args:
        rank: Average rank of a layer at the end, 1 or more.
        initial_rank: Rank of each layer at the start, above `rank`.
        alpha: An update's scale is alpha / initial_rank; None is 2 * initial_rank.
        dropout: As in `LoRA`.
        targets: As in `LoRA`.
        warm: Fraction of the steps before the first pruning.
        settled: Fraction of the steps after the last one.
        every: Steps between prunings, 1 or more.
        orthogonality: Weight of the penalty that keeps the singular vectors orthogonal; it is part of what is trained
            on, and not of the losses that are logged.

    Raises:
        InvalidExperiment: If a field is out of its range, or nothing is left to prune.

    Examples:
        >>> AdaLoRA(rank=4, initial_rank=6).name
        'adalora-r4-of6'
    """

    rank: int = 8
    initial_rank: int = 12
    alpha: float | None = None
    dropout: float = 0.0
    targets: Targets = "all-linear"
    warm: float = 0.1
    settled: float = 0.3
    every: int = 1
    orthogonality: float = 0.5

    support: ClassVar[str] = "harness.training.adapter_support:AdaLoRASupport"
    # The paper's rates on GLUE and question answering are 5e-4 to 3e-3 (Zhang et al. 2023, appendices E and F).
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (5e-4, 5e-3)
    merges: ClassVar[bool] = True
    step_cost: ClassVar[float] = 1.5

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidExperiment(f"AdaLoRA(rank={self.rank}) trains nothing; give a rank of 1 or more, such as 8")
        if self.initial_rank <= self.rank:
            raise InvalidExperiment(
                f"AdaLoRA(rank={self.rank}, initial_rank={self.initial_rank}) leaves nothing to prune; give an "
                f"initial_rank above rank, such as {3 * self.rank // 2 + 1}, or use LoRA(rank={self.rank})"
            )
        if self.alpha is not None and self.alpha <= 0:
            raise InvalidExperiment(f"AdaLoRA(alpha={self.alpha}) switches the update off; leave it out")
        check_dropout("AdaLoRA", self.dropout)
        object.__setattr__(self, "targets", check_targets("AdaLoRA", self.targets))
        if not (self.warm >= 0 and self.settled >= 0 and self.warm + self.settled < 1):
            raise InvalidExperiment(
                f"AdaLoRA(warm={self.warm}, settled={self.settled}) are fractions of the steps, and what is left "
                "between them is when ranks are handed out; give two that sum to less than 1"
            )
        if self.every < 1:
            raise InvalidExperiment(f"AdaLoRA(every={self.every}): give 1 step or more")
        if not 0 <= self.orthogonality < float("inf"):
            raise InvalidExperiment(f"AdaLoRA(orthogonality={self.orthogonality}): give a weight of 0 or more")

    @property
    def scale(self) -> float:
        """alpha, with its default filled in."""
        return 2.0 * self.initial_rank if self.alpha is None else self.alpha

    @property
    def name(self) -> str:
        parts = [f"adalora-r{self.rank}", f"of{self.initial_rank}"]
        if self.scale != 2 * self.initial_rank:
            parts.append(f"alpha{self.scale:g}")
        said = {"dropout": 0.0, "warm": 0.1, "settled": 0.3, "every": 1, "orthogonality": 0.5}
        parts += [f"{field}{getattr(self, field):g}" for field, usual in said.items() if getattr(self, field) != usual]
        if self.targets != "all-linear":
            parts.append("+".join(self.targets))
        return "-".join(parts)

    def trained_parameters(self, shape: ModelShape) -> int:
        chosen = shape.targeted(self.targets)
        # A rank has two vectors and a singular value.
        return shape.layers * sum(_update(one, self.initial_rank) + self.initial_rank for one in chosen)

    def module_names(self) -> Mapping[str, Sequence[str]]:
        return named_targets(self.targets)
