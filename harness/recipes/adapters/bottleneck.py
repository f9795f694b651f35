"""Small networks of two layers, hung between or beside the sublayers of a frozen model, alone or with a prefix."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment

Activation = Literal["relu", "gelu", "silu", "tanh"]
_ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
# Houlsby et al. 2019 searched 3e-5 to 3e-3; LLM-Adapters (Hu et al. 2023) trained decoders of this kind at 3e-4.
_RATES = (1e-4, 3e-3)


@dataclass(frozen=True)
class Bottleneck:
    """h + W_up f(W_down h) on the output h of a sublayer; W_up starts at 0, so that training starts from the base.

    reduction: the hidden width over the adapter's. kind: "houlsby" stands after attention and after the feed-forward
    network of each layer (Houlsby et al. 2019), "pfeiffer" after the feed-forward network only (Pfeiffer et al. 2021).
    activation: f.
    """

    reduction: int = 16
    kind: Literal["pfeiffer", "houlsby"] = "pfeiffer"
    activation: Activation = "relu"

    # Dev loss on home commands after 16 steps was 0.62 at 3e-3 and 0.65 at 1e-2; longer runs bear less.
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (3e-4, 1e-2)
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_counts(self, reduction=self.reduction)
        if self.kind not in ("pfeiffer", "houlsby"):
            raise InvalidExperiment(f'Bottleneck(kind={self.kind!r}): give "pfeiffer" or "houlsby"')
        if self.activation not in _ACTIVATIONS:
            raise InvalidExperiment(
                f"Bottleneck(activation={self.activation!r}): give one of {', '.join(_ACTIVATIONS)}"
            )

    @property
    def name(self) -> str:
        activation = "" if self.activation == "relu" else f"-{self.activation}"
        return f"{self.kind}-{self.reduction}{activation}"


@dataclass(frozen=True)
class MAM:
    """A prefix in attention, and a scaled adapter beside the feed-forward network (He et al. 2022, MAM adapter).

    prefix_tokens: free keys and values a layer, which take no position. bottleneck: width of the adapter.
    scale: its output is multiplied by it.
    """

    prefix_tokens: int = 30
    bottleneck: int = 512
    scale: float = 4.0

    learning_rate: ClassVar[float] = 3e-4
    rates: ClassVar[tuple[float, float]] = _RATES
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_counts(self, prefix_tokens=self.prefix_tokens, bottleneck=self.bottleneck)
        _check_scale(self, scale=self.scale)

    @property
    def name(self) -> str:
        scale = "" if self.scale == 4 else f"-s{self.scale:g}"
        return f"mam-p{self.prefix_tokens}-b{self.bottleneck}{scale}"


@dataclass(frozen=True)
class UniPELT:
    """Low-rank updates of queries and values, a prefix and a sequential adapter, each behind a gate (Mao et al. 2022).

    A gate is a sigmoid of its module's input, one number a token, so that a token's output depends on no later one.
    rank, alpha: of the low-rank updates, which are scaled by alpha / rank. prefix_tokens: keys and values a layer.
    reduction: the hidden width over the adapter's.
    """

    rank: int = 8
    alpha: float = 2.0
    prefix_tokens: int = 10
    reduction: int = 16

    learning_rate: ClassVar[float] = 5e-4
    rates: ClassVar[tuple[float, float]] = _RATES
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_counts(self, rank=self.rank, prefix_tokens=self.prefix_tokens, reduction=self.reduction)
        _check_scale(self, alpha=self.alpha)

    @property
    def name(self) -> str:
        alpha = "" if self.alpha == 2 else f"-alpha{self.alpha:g}"
        return f"unipelt-r{self.rank}{alpha}-p{self.prefix_tokens}-{self.reduction}"


def _check_counts(adapter: Bottleneck | MAM | UniPELT, **counts: int) -> None:
    for field, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidExperiment(f"{type(adapter).__name__}({field}={value!r}): give a whole number of 1 or more")


def _check_scale(adapter: MAM | UniPELT, **scales: float) -> None:
    for field, value in scales.items():
        if not 0 < value < float("inf"):
            raise InvalidExperiment(
                f"{type(adapter).__name__}({field}={value!r}) switches the update off; give a number above 0"
            )
