"""Low-rank updates beside frozen layers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment

# Best LoRA rate is about ten times full fine-tuning's, on all linear layers (Thinking Machines, LoRA Without Regret).
_LEARNING_RATE = 3e-4
_RATES = (1e-4, 2e-3)


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates beside frozen linear layers (Hu et al. 2021).

    rank: width of the update. alpha: its scale is alpha / rank; None is 2 * rank.
    targets: "all-linear" is every linear layer but the output head, or names of modules such as ("q_proj", "v_proj").
    """

    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"

    learning_rate: ClassVar[float] = _LEARNING_RATE
    rates: ClassVar[tuple[float, float]] = _RATES
    merges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_low_rank(self)

    @property
    def scale(self) -> float:
        """alpha, with its default filled in."""
        return 2.0 * self.rank if self.alpha is None else self.alpha

    @property
    def name(self) -> str:
        return _low_rank_name("lora", self)


@dataclass(frozen=True)
class QLoRA:
    """LoRA on a base stored in 4 bits: NF4 with double quantisation (Dettmers et al. 2023).

    rank, alpha, dropout, targets: as in LoRA. The tuned system is served on the base as the experiment's model
    loads it, which is not quantised; the run measures what that changes.
    """

    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"

    learning_rate: ClassVar[float] = _LEARNING_RATE
    rates: ClassVar[tuple[float, float]] = _RATES
    merges: ClassVar[bool] = True
    quantization: ClassVar[Literal["nf4"]] = "nf4"

    def __post_init__(self) -> None:
        _check_low_rank(self)

    @property
    def scale(self) -> float:
        """alpha, with its default filled in."""
        return 2.0 * self.rank if self.alpha is None else self.alpha

    @property
    def name(self) -> str:
        return _low_rank_name("qlora", self)


LowRank = LoRA | QLoRA


def _check_low_rank(adapter: LowRank) -> None:
    kind = type(adapter).__name__
    if adapter.rank < 1:
        raise InvalidExperiment(f"{kind}(rank={adapter.rank}) trains nothing; give a rank of 1 or more, such as 16")
    if adapter.alpha is not None and adapter.alpha <= 0:
        raise InvalidExperiment(f"{kind}(alpha={adapter.alpha}) switches the update off; leave it out for 2 * rank")
    if not 0 <= adapter.dropout < 1:
        raise InvalidExperiment(f"{kind}(dropout={adapter.dropout}) is no fraction; give 0 <= dropout < 1")
    if isinstance(adapter.targets, str) and adapter.targets != "all-linear":
        raise InvalidExperiment(
            f'{kind}(targets={adapter.targets!r}): give "all-linear" or a tuple of module names: '
            f"targets=({adapter.targets!r},)"
        )
    if not adapter.targets:
        raise InvalidExperiment(f'{kind}(targets=()) trains nothing; give "all-linear" or module names')
    if not isinstance(adapter.targets, str):
        # A list would pass every other check and fail only when the declaration is hashed.
        object.__setattr__(adapter, "targets", tuple(adapter.targets))


def _low_rank_name(kind: str, adapter: LowRank) -> str:
    parts = [f"{kind}-r{adapter.rank}"]
    if adapter.scale != 2 * adapter.rank:
        parts.append(f"alpha{adapter.scale:g}")
    if adapter.dropout:
        parts.append(f"dropout{adapter.dropout:g}")
    if adapter.targets != "all-linear":
        parts.append("+".join(adapter.targets))
    return "-".join(parts)
