"""Small networks of two layers, hung between or beside the sublayers of a frozen model, alone or with a prefix.

The weights that a model has already, but few of them: biases and norms.

Every weight is trained.

Activations scaled by learned vectors.

Any other method of the PEFT library, by its own config.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, ClassVar, Literal

from harness.errors import InvalidExperiment
from harness.recipes.adapters.low_rank import lora_parameters
from harness.recipes.adapters.protocol import Adapter, TunerAdapter
from harness.types.shapes import ModelShape

Activation = Literal["relu", "gelu", "silu", "tanh"]
_ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
# Houlsby et al. 2019 searched 3e-5 to 3e-3; LLM-Adapters (Hu et al. 2023) trained decoders of this kind at 3e-4.
_RATES = (1e-4, 3e-3)


@dataclass(frozen=True)
class Bottleneck(Adapter):
    """h + W_up f(W_down h) on the output h of a sublayer; W_up starts at 0, so that training starts from the base.

    Args:
        reduction: The hidden width over the adapter's, 1 or more.
        kind: "houlsby" stands after attention and after the feed-forward network of each layer (Houlsby et al. 2019),
            "pfeiffer" after the feed-forward network only (Pfeiffer et al. 2021).
        activation: The function f: "relu", "gelu", "silu" or "tanh".

    Raises:
        InvalidExperiment: If a field has an unknown value.

    Examples:
        >>> Bottleneck(reduction=8, kind="houlsby").name
        'houlsby-8'
    """

    reduction: int = 16
    kind: Literal["pfeiffer", "houlsby"] = "pfeiffer"
    activation: Activation = "relu"

    support: ClassVar[str] = "harness.inference.custom_adapters.modules:BottleneckSupport"
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

    def trained_parameters(self, shape: ModelShape) -> int:
        networks = 2 if self.kind == "houlsby" else 1
        return shape.layers * _two_layers(shape.hidden, narrowed(shape.hidden, self.reduction)) * networks


@dataclass(frozen=True)
class MAM(Adapter):
    """A prefix in attention, and a scaled adapter beside the feed-forward network (He et al. 2022, MAM adapter).

    Args:
        prefix_tokens: Free keys and values of each layer, which take no position.
        bottleneck: Width of the adapter.
        scale: Its output is multiplied by it, above 0.

    Raises:
        InvalidExperiment: If a field is out of its range.

    Examples:
        >>> MAM(bottleneck=256).name
        'mam-p30-b256'
    """

    prefix_tokens: int = 30
    bottleneck: int = 512
    scale: float = 4.0

    support: ClassVar[str] = "harness.inference.custom_adapters.modules:MAMSupport"
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

    def trained_parameters(self, shape: ModelShape) -> int:
        prefix = 2 * shape.kv_width * self.prefix_tokens
        return shape.layers * (prefix + _two_layers(shape.hidden, self.bottleneck))


@dataclass(frozen=True)
class UniPELT(Adapter):
    """Low-rank updates of queries and values, a prefix and a sequential adapter, each behind a gate (Mao et al. 2022).

    A gate is a sigmoid of its module's input, one number for each token, so that a token's output depends on no later
    one.

    Args:
        rank: Of the low-rank updates.
        alpha: They are scaled by alpha / rank, above 0.
        prefix_tokens: Keys and values of each layer.
        reduction: The hidden width over the sequential adapter's.

    Raises:
        InvalidExperiment: If a field is out of its range.

    Examples:
        >>> UniPELT(rank=4).name
        'unipelt-r4-p10-16'
    """

    rank: int = 8
    alpha: float = 2.0
    prefix_tokens: int = 10
    reduction: int = 16

    support: ClassVar[str] = "harness.inference.custom_adapters.modules:UniPELTSupport"
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

    def trained_parameters(self, shape: ModelShape) -> int:
        hidden = shape.hidden
        gates = 4 * (hidden + 1)  # of queries, values, prefix and bottleneck
        updates = self.rank * (2 * hidden + shape.query_width + shape.kv_width)
        prefix = 2 * shape.kv_width * self.prefix_tokens
        return shape.layers * (updates + prefix + _two_layers(hidden, narrowed(hidden, self.reduction)) + gates)


def narrowed(hidden: int, reduction: int) -> int:
    """Return the width of a network between sublayers: the hidden width over `reduction`, at least 1."""
    return max(1, hidden // reduction)


def _two_layers(hidden: int, width: int) -> int:
    return 2 * hidden * width + hidden + width


def _check_counts(adapter: Bottleneck | MAM | UniPELT, **counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidExperiment(f"{type(adapter).__name__}({name}={value!r}): give a whole number of 1 or more")


def _check_scale(adapter: MAM | UniPELT, **scales: float) -> None:
    for name, value in scales.items():
        if not 0 < value < float("inf"):
            raise InvalidExperiment(
                f"{type(adapter).__name__}({name}={value!r}) switches the update off; give a number above 0"
            )


@dataclass(frozen=True)
class BitFit(Adapter):
    """The biases are trained (Ben Zaken et al. 2022), and the norms' scales too.

    Models of the Llama family have no bias: of them the norms are trained alone, and the run says so.

    Args:
        norms: Train the scales of the norms as well.

    Examples:
        >>> BitFit(norms=False).name
        'bitfit-biases'
    """

    norms: bool = True

    support: ClassVar[str] = "harness.inference.custom_adapters.modules:BitFitSupport"
    # Ben Zaken et al. searched 1e-4 to 1e-3 for encoders. Norms of a decoder learn fastest at 1e-2: dev loss on home
    # commands after 16 steps was 0.98 at 3e-3, 0.70 at 1e-2 and 0.96 at 3e-2.
    learning_rate: ClassVar[float] = 5e-3
    rates: ClassVar[tuple[float, float]] = (1e-3, 2e-2)
    merges: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "bitfit" if self.norms else "bitfit-biases"

    def trained_parameters(self, shape: ModelShape) -> int:
        biases = shape.layers * sum(one.width_out for one in shape.linears if one.bias)
        norms = shape.norm_parameters
        if self.norms:
            return biases + norms
        return biases + (norms // 2 if shape.norm_bias else 0)


@dataclass(frozen=True)
class Full(Adapter):
    """Every weight is trained, kept in float32.

    Examples:
        >>> SFT(adapter=Full()).rate
        2e-05
    """

    support: ClassVar[str] = "harness.recipes.adapters.protocol:AdapterSupport"
    learning_rate: ClassVar[float] = 2e-5
    rates: ClassVar[tuple[float, float]] = (1e-5, 2e-4)
    merges: ClassVar[bool] = True
    whole: ClassVar[bool] = True
    pads: ClassVar[bool] = True
    splits: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "full"

    @property
    def for_tuners(self) -> TunerAdapter:
        return TunerAdapter(kind="full")

    def trained_parameters(self, shape: ModelShape) -> int:
        return shape.parameters


_KEYS_AND_VALUES = ("k_proj", "key", "v_proj", "value", "c_attn")
_DOWN = ("down_proj", "output.dense")


@dataclass(frozen=True)
class IA3(Adapter):
    """Keys, values and the inside of each feed-forward block are scaled by learned vectors (Liu et al. 2022).

    Args:
        targets: Names of the modules that are scaled; None is PEFT's choice for the architecture, keys, values and the
            feed-forward's last layer.
        feedforward: Those of `targets` whose input is scaled, not their output; None is the feed-forward's last layer.

    Raises:
        InvalidExperiment: If `targets` is empty, or `feedforward` holds what is no target.

    Examples:
        >>> IA3(targets=("k_proj", "v_proj")).name
        'ia3-k_proj+v_proj'
    """

    targets: tuple[str, ...] | None = None
    feedforward: tuple[str, ...] | None = None

    support: ClassVar[str] = "harness.training.adapter_setup:IA3Support"
    # The paper's one rate for all its data sets is 3e-3 (Liu et al. 2022, section 3.3).
    learning_rate: ClassVar[float] = 3e-3
    rates: ClassVar[tuple[float, float]] = (1e-3, 3e-2)
    merges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("targets", "feedforward"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise InvalidExperiment(f"IA3({name}={given!r}): give a tuple of module names: {name}=({given!r},)")
            if given is not None:
                object.__setattr__(self, name, tuple(given))
        if self.targets == ():
            raise InvalidExperiment("IA3(targets=()) trains nothing; leave it out or give module names")
        if self.feedforward is not None and self.targets is None:
            raise InvalidExperiment("IA3(feedforward=...) are some of the targets; give targets too")
        if self.targets is not None and (other := set(self.feedforward or ()) - set(self.targets)):
            raise InvalidExperiment(f"IA3(feedforward=...): {', '.join(sorted(other))} is not in targets; add it there")

    @property
    def name(self) -> str:
        if self.targets is None:
            return "ia3"
        entered = f"-in-{'+'.join(self.feedforward)}" if self.feedforward else ""
        return f"ia3-{'+'.join(self.targets)}{entered}"

    def trained_parameters(self, shape: ModelShape) -> int:
        # One scale a key and a value, and one an input of the feed-forward network's last projection.
        if self.targets is None:
            inner = [one for one in shape.linears if one.name in _DOWN]
            keys = [one for one in shape.linears if one.name in _KEYS_AND_VALUES]
        else:
            chosen = shape.targeted(self.targets)
            inner = [one for one in chosen if one.name in (self.feedforward or ())]
            keys = [one for one in chosen if one not in inner]
        return shape.layers * (sum(one.width_out for one in keys) + sum(one.width_in for one in inner))

    def module_names(self) -> Mapping[str, Sequence[str]]:
        return {"targets": self.targets or (), "feedforward": self.feedforward or ()}


# Rank of a LoRA of PEFT's whose config says none, and the settings that name modules.
_PEFT_RANK = 8
_NAMING = ("target_modules", "feedforward_modules", "modules_to_save", "exclude_modules", "layers_pattern")
# Methods of peft 0.21 whose update is no update of weights.
_NEVER_MERGED = frozenset(
    {"PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE"}
    | {"ADAPTION_PROMPT", "POLY", "LILY", "XLORA", "BEFT"}
)
# Starts of a LoRA that change the model's own weights, or need training rows.
_MOVING_STARTS = ("pissa", "olora", "corda", "loftq", "eva", "lora_ga")


@dataclass(frozen=True)
class PEFT(Adapter):
    """Any other method of PEFT, by its config: PEFT(peft.VeraConfig(r=64, target_modules="all-linear")).

    The method has no learning rate of its own here: 1e-3 is used if the recipe gives none, and a search tries 1e-4 to
    1e-1.

    Args:
        config: Any of peft's config objects, or the same as a mapping, {"peft_type": "VERA", "r": 64, ...}, which costs
            no import of peft when experiments are collected; what it says is part of the recipe's key.

    Raises:
        InvalidExperiment: If it is no config, or says what PEFT's config alone does not carry out.

    Examples:
        >>> PEFT({"peft_type": "VERA", "r": 64, "target_modules": "all-linear"}).kind
        'VERA'
    """

    config: Any = field(compare=False, metadata={"key": False})
    kind: str = field(init=False, default="")
    settings: str = field(init=False, default="", repr=False)

    support: ClassVar[str] = "harness.training.adapter_support:PEFTSupport"
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (1e-4, 1e-1)

    def __post_init__(self) -> None:
        if isinstance(self.config, type):
            name = self.config.__name__
            raise InvalidExperiment(f"PEFT({name}) is given a class; write PEFT({name}(...))")
        mapped = isinstance(self.config, Mapping)
        told: dict[str, Any] = dict(self.config) if mapped else getattr(self.config, "to_dict", dict)()
        if not told.get("peft_type"):
            raise InvalidExperiment(
                f"PEFT({type(self.config).__name__}) is given no config of peft; write PEFT(peft.VeraConfig(...)) or "
                'another of its configs, or PEFT({"peft_type": "VERA", ...})'
            )
        object.__setattr__(self, "kind", str(getattr(told["peft_type"], "value", told["peft_type"])))
        _refuse_half(self.kind, told)
        object.__setattr__(self, "settings", json.dumps(told, sort_keys=True, default=_plain))

    @property
    def merges(self) -> bool:
        return self.kind not in _NEVER_MERGED

    @property
    def name(self) -> str:
        return f"peft-{self.kind.lower().replace('_', '-')}-{sha256(self.settings.encode()).hexdigest()[:6]}"

    def trained_parameters(self, shape: ModelShape) -> int | None:
        told = json.loads(self.settings)
        targets = told.get("target_modules")
        names = targets if isinstance(targets, str) else tuple(targets or ())
        if self.kind.upper() == "LORA" and names:
            return lora_parameters(shape, rank=int(told.get("r", _PEFT_RANK)), targets=names)
        return shape.norm_parameters if self.kind.upper() == "LN_TUNING" else None

    def module_names(self) -> Mapping[str, Sequence[str]]:
        told = json.loads(self.settings)
        return {name: list(map(str, told[name])) for name in _NAMING if isinstance(told.get(name), list)}

    def layer_numbers(self) -> Sequence[int]:
        wanted = json.loads(self.settings).get("layers_to_transform")
        numbers = [wanted] if isinstance(wanted, int) else list(wanted or ())
        return [number for number in numbers if isinstance(number, int)]


def _refuse_half(kind: str, told: dict[str, Any]) -> None:
    """Raise InvalidExperiment for what PEFT's config alone does not carry out."""
    if kind == "ADALORA":
        raise InvalidExperiment(
            "PEFT(AdaLoraConfig(...)) hands out no ranks, since that is left to the training loop; write AdaLoRA(...)"
        )
    start = told.get("init_lora_weights")
    if kind == "LORA" and isinstance(start, str) and start.lower().startswith(_MOVING_STARTS):
        raise InvalidExperiment(
            f"PEFT(LoraConfig(init_lora_weights={start!r})) starts from the model's weights or from data, which a "
            'config alone does not bring; write LoRA(init="pissa"), "olora", "loftq" or "eva"'
        )


def _plain(value: object) -> object:
    """Return a JSON value of what stands in a config besides numbers and text."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)
