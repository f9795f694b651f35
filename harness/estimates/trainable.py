"""How many weights each adapter trains, in closed form."""

import json

from harness.estimates.shape import Linear, Shape
from harness.recipes.adapters import (
    IA3,
    MAM,
    PEFT,
    AdaLoRA,
    Adapter,
    BitFit,
    Bottleneck,
    Full,
    LoRA,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
    UniPELT,
)

# Rank of a LoRA of PEFT's whose config says none.
_PEFT_RANK = 8
# Layers of the recurrent encoder of PTuning.
_RECURRENT = 2
_QUERIES = ("q_proj", "c_attn", "query", "query_key_value")
_VALUES = ("v_proj", "value")
_KEYS = ("k_proj", "key")
_DOWN = ("down_proj", "output.dense")


def trained_parameters(shape: Shape, adapter: Adapter) -> int | None:
    """Return how many weights `adapter` trains on a model of `shape`; None where the method has no closed form here.

    What is saved may be less: a prefix is saved as keys and values, without the network that made them.
    """
    if isinstance(adapter, Full):
        return shape.parameters
    if isinstance(adapter, LoRA | QLoRA):
        dora = isinstance(adapter, LoRA) and adapter.dora
        return (
            sum(_low_rank(one, adapter.rank, direction=dora) for one in _targets(shape, adapter.targets)) * shape.layers
        )
    if isinstance(adapter, AdaLoRA):
        chosen = _targets(shape, adapter.targets)
        # A rank has two vectors and a singular value.
        return shape.layers * sum(_low_rank(one, adapter.initial_rank) + adapter.initial_rank for one in chosen)
    if isinstance(adapter, IA3):
        return _ia3(shape, adapter)
    if isinstance(adapter, BitFit):
        return _bit_fit(shape, adapter)
    if isinstance(adapter, Bottleneck | MAM | UniPELT):
        return shape.layers * _own(shape, adapter)
    if isinstance(adapter, PromptTuning | PTuning | PrefixTuning | PTuningV2):
        return _virtual_tokens(shape, adapter)
    return _of_peft(shape, adapter) if isinstance(adapter, PEFT) else None


def lora_parameters(shape: Shape, *, rank: int, targets: tuple[str, ...] | str) -> int:
    """Return rank x (in + out) over the targeted linear layers of all blocks (Hu et al. 2021)."""
    return shape.layers * sum(_low_rank(one, rank) for one in _targets(shape, targets))


def norm_parameters(shape: Shape) -> int:
    """Return the weights of all normalisation layers, biases of theirs included."""
    return (shape.layers * shape.norms + shape.final_norm) * (2 if shape.norm_bias else 1)


def _targets(shape: Shape, targets: tuple[str, ...] | str) -> list[Linear]:
    if isinstance(targets, str):
        return list(shape.linears)
    return [one for one in shape.linears if any(one.name == name or one.name.endswith(f".{name}") for name in targets)]


def _low_rank(linear: Linear, rank: int, *, direction: bool = False) -> int:
    """direction: DoRA trains the length of each output beside the update."""
    return rank * (linear.width_in + linear.width_out) + (linear.width_out if direction else 0)


def _ia3(shape: Shape, adapter: IA3) -> int:
    """One scale a key and a value, and one an input of the feed-forward network's last projection (Liu et al. 2022)."""
    if adapter.targets is None:
        inner = [one for one in shape.linears if one.name in _DOWN]
        keys = [one for one in shape.linears if one.name in (*_KEYS, *_VALUES, "c_attn")]
    else:
        chosen = _targets(shape, adapter.targets)
        inner = [one for one in chosen if one.name in (adapter.feedforward or ())]
        keys = [one for one in chosen if one not in inner]
    return shape.layers * (sum(one.width_out for one in keys) + sum(one.width_in for one in inner))


def _bit_fit(shape: Shape, adapter: BitFit) -> int:
    biases = shape.layers * sum(one.width_out for one in shape.linears if one.bias)
    norms = norm_parameters(shape)
    if adapter.norms:
        return biases + norms
    return biases + (norms // 2 if shape.norm_bias else 0)


def _own(shape: Shape, adapter: Bottleneck | MAM | UniPELT) -> int:
    """Return the weights a block has of the project's own adapters."""
    hidden = shape.hidden
    if isinstance(adapter, Bottleneck):
        return _two_layers(hidden, _narrowed(hidden, adapter.reduction)) * (2 if adapter.kind == "houlsby" else 1)
    if isinstance(adapter, MAM):
        return 2 * shape.kv_width * adapter.prefix_tokens + _two_layers(hidden, adapter.bottleneck)
    gates = 4 * (hidden + 1)  # of queries, values, prefix and bottleneck
    updates = adapter.rank * (2 * hidden + shape.query_width + shape.kv_width)
    prefix = 2 * shape.kv_width * adapter.prefix_tokens
    return updates + prefix + _two_layers(hidden, _narrowed(hidden, adapter.reduction)) + gates


def _two_layers(hidden: int, width: int) -> int:
    return 2 * hidden * width + hidden + width


def _narrowed(hidden: int, reduction: int) -> int:
    return max(1, hidden // reduction)


def _virtual_tokens(shape: Shape, adapter: PromptTuning | PTuning | PrefixTuning | PTuningV2) -> int:
    hidden, tokens = shape.hidden, adapter.tokens
    if isinstance(adapter, PromptTuning):
        return tokens * hidden
    if isinstance(adapter, PTuning):
        return tokens * hidden + _encoder(hidden, adapter.hidden or hidden, recurrent=adapter.encoder == "lstm")
    keys_and_values = 2 * shape.layers * shape.kv_width
    if isinstance(adapter, PTuningV2):
        return tokens * keys_and_values
    read, inner = shape.kv_width, adapter.width
    return tokens * read + (read * inner + inner) + (inner * keys_and_values + keys_and_values)


def _encoder(hidden: int, inner: int, *, recurrent: bool) -> int:
    """Return the weights of the network that makes the virtual tokens of P-tuning (Liu et al. 2021)."""
    if not recurrent:
        return (hidden * inner + inner) + (inner * inner + inner) + (inner * hidden + hidden)
    # Two directions, four gates of (input, state and two biases) each; the next layer reads both directions.
    recurrent_weights = sum(
        2 * 4 * (inner * (width + inner) + 2 * inner) for width in [hidden] + [2 * inner] * (_RECURRENT - 1)
    )
    return recurrent_weights + (2 * inner * 2 * inner + 2 * inner) + (2 * inner * hidden + hidden)


def _of_peft(shape: Shape, adapter: PEFT) -> int | None:
    """Return what a config of PEFT's own trains, for the kinds with a simple form."""
    told = json.loads(adapter.settings)
    targets = told.get("target_modules")
    names = targets if isinstance(targets, str) else tuple(targets or ())
    if adapter.kind.upper() == "LORA" and names:
        return lora_parameters(shape, rank=int(told.get("r", _PEFT_RANK)), targets=names)
    if adapter.kind.upper() == "LN_TUNING":
        return norm_parameters(shape)
    return None
