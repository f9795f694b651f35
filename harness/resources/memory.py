"""The memory that a training run takes at its peak, part by part.

How many weights each adapter trains, in closed form.
"""

import json
import math
from dataclasses import dataclass, replace

from harness.recipes import DPO, GRPO, KTO, PPO, RLOO, SFT, Trained
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
from harness.resources.model_shape import Linear, ModelShape

# Rank of a LoRA of PEFT's whose config says none.
_PEFT_RANK = 8
# Layers of the recurrent encoder of PTuning.
_RECURRENT = 2
_VALUES = ("v_proj", "value")
_KEYS = ("k_proj", "key")
_DOWN = ("down_proj", "output.dense")


def trained_parameters(shape: ModelShape, adapter: Adapter) -> int | None:
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


def lora_parameters(shape: ModelShape, *, rank: int, targets: tuple[str, ...] | str) -> int:
    """Return rank x (in + out) over the targeted linear layers of all blocks (Hu et al. 2021)."""
    return shape.layers * sum(_low_rank(one, rank) for one in _targets(shape, targets))


def norm_parameters(shape: ModelShape) -> int:
    """Return the weights of all normalisation layers, biases of theirs included."""
    return (shape.layers * shape.norms + shape.final_norm) * (2 if shape.norm_bias else 1)


def _targets(shape: ModelShape, targets: tuple[str, ...] | str) -> list[Linear]:
    if isinstance(targets, str):
        return list(shape.linears)
    return [one for one in shape.linears if any(one.name == name or one.name.endswith(f".{name}") for name in targets)]


def _low_rank(linear: Linear, rank: int, *, direction: bool = False) -> int:
    """direction: DoRA trains the length of each output beside the update."""
    return rank * (linear.width_in + linear.width_out) + (linear.width_out if direction else 0)


def _ia3(shape: ModelShape, adapter: IA3) -> int:
    """One scale a key and a value, and one an input of the feed-forward network's last projection (Liu et al. 2022)."""
    if adapter.targets is None:
        inner = [one for one in shape.linears if one.name in _DOWN]
        keys = [one for one in shape.linears if one.name in (*_KEYS, *_VALUES, "c_attn")]
    else:
        chosen = _targets(shape, adapter.targets)
        inner = [one for one in chosen if one.name in (adapter.feedforward or ())]
        keys = [one for one in chosen if one not in inner]
    return shape.layers * (sum(one.width_out for one in keys) + sum(one.width_in for one in inner))


def _bit_fit(shape: ModelShape, adapter: BitFit) -> int:
    biases = shape.layers * sum(one.width_out for one in shape.linears if one.bias)
    norms = norm_parameters(shape)
    if adapter.norms:
        return biases + norms
    return biases + (norms // 2 if shape.norm_bias else 0)


def _own(shape: ModelShape, adapter: Bottleneck | MAM | UniPELT) -> int:
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


def _virtual_tokens(shape: ModelShape, adapter: PromptTuning | PTuning | PrefixTuning | PTuningV2) -> int:
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


def _of_peft(shape: ModelShape, adapter: PEFT) -> int | None:
    """Return what a config of PEFT's own trains, for the kinds with a simple form."""
    told = json.loads(adapter.settings)
    targets = told.get("target_modules")
    names = targets if isinstance(targets, str) else tuple(targets or ())
    if adapter.kind.upper() == "LORA" and names:
        return lora_parameters(shape, rank=int(told.get("r", _PEFT_RANK)), targets=names)
    if adapter.kind.upper() == "LN_TUNING":
        return norm_parameters(shape)
    return None


# Bytes of a weight in 4 bits: NF4 with double quantisation is 4.127 bits (Dettmers et al. 2023).
NF4_BYTES = 4.127 / 8
# Share of the weights that a method without a closed form is taken to train.
_UNKNOWN_SHARE = 0.01
# Answer tokens of a row where nobody says: only they are projected to the vocabulary.
_ANSWER = 64
_AFTERWARDS = "serving afterwards"
# What each way to share work among devices divides among them.
_DIVIDED: dict[str, frozenset[str]] = {
    "ddp": frozenset(),
    "zero2": frozenset({"gradients", "optimizer"}),
    "zero3": frozenset({"weights", "adapter", "gradients", "optimizer"}),
    "fsdp2": frozenset({"weights", "adapter", "gradients", "optimizer"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """Bytes that numbers take in a run.

    base: of a weight that is not trained. trained, gradient, optimizer: of a trained weight, of its gradient, of what
    the optimizer keeps for it. products: of what matrix products read and write. states: of the states between blocks.
    scores: the attention's scores are held for the backward pass, as plain products do. every_logit: the output head
    computes all positions, not only those of answers. runtime: of Python with its libraries, or of the GPU's context.
    served: of a weight of the model that is loaded once training is over, to check the tuned system and to answer.
    served_in_4_bits: its linear layers are in 4 bits then.
    """

    base: float = 4.0
    trained: float = 4.0
    gradient: float = 4.0
    optimizer: float = 8.0
    products: float = 4.0
    states: float = 4.0
    scores: bool = True
    every_logit: bool = False
    runtime: int = 0
    served: float = 0.0
    served_in_4_bits: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the memory, in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Memory:
    """The parts, largest story first. trained: weights that are trained. answering: bytes taken once it is over."""

    parts: tuple[Part, ...]
    trained: int
    answering: int = 0

    @property
    def total(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def training(self) -> int:
        """The bytes of training alone, without what answering afterwards takes beyond them."""
        return self.total - self.of(_AFTERWARDS)

    def of(self, name: str) -> int:
        """Return the bytes of one part, 0 where there is none of this name."""
        return sum(part.bytes for part in self.parts if part.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLengths:
    """What is in memory at once. rows: how many texts. length: tokens of each. answer: tokens that are learned."""

    rows: int
    length: int
    answer: int = _ANSWER

    @property
    def tokens(self) -> int:
        return self.rows * self.length


def training_memory(shape: ModelShape, adapter: Adapter, formats: Formats, rows: RowLengths) -> Memory:
    """Return the memory of supervised training of one model; 4-bit bases keep embeddings, norms and head as they are.

    Sources: Korthikanti et al., Reducing Activation Recomputation (2022), for what a block keeps; Dettmers et al.,
    QLoRA (2023), for 4 bits.
    """
    found = trained_parameters(shape, adapter)
    trained = round(_UNKNOWN_SHARE * shape.parameters) if found is None else found
    seen = replace(rows, length=rows.length + _virtual(adapter))
    full = isinstance(adapter, Full)
    parts = (
        ("libraries", formats.runtime),
        ("weights", shape.parameters * formats.trained if full else base_weights(shape, adapter, formats)),
        ("adapter", 0 if full else trained * formats.trained),
        ("gradients", trained * formats.gradient),
        ("optimizer", trained * formats.optimizer),
        ("activations", shape.layers * block_activations(shape, formats, seen)),
        ("logits", logits(shape, formats, seen)),
    )
    return Memory(tuple(Part(name, round(size)) for name, size in parts if size), trained)


def answering_memory(shape: ModelShape, formats: Formats) -> int:
    """Return the bytes of the model as it answers."""
    if not formats.served_in_4_bits:
        return round(formats.runtime + shape.parameters * formats.served)
    return round(formats.runtime + _in_4_bits(shape, formats.served))


def base_weights(shape: ModelShape, adapter: Adapter, formats: Formats) -> float:
    """Return the bytes of a frozen base."""
    if not isinstance(adapter, QLoRA):
        return shape.parameters * formats.base
    # The layers' products are computed in 16 bits: one layer at a time is unpacked.
    unpacked = max(linear.weights for linear in shape.linears) * formats.products
    return _in_4_bits(shape, formats.base) + unpacked


def _in_4_bits(shape: ModelShape, width: float) -> float:
    """Return the bytes of a model whose linear layers are in 4 bits; width: bytes of any other weight."""
    return shape.linear_weights * NF4_BYTES + (shape.parameters - shape.linear_weights) * width


def block_activations(shape: ModelShape, formats: Formats, rows: RowLengths) -> float:
    """Return the bytes that one block keeps for the backward pass.

    A norm keeps its input, its float32 copy and its output; attention its queries, keys and values before and after
    rotation, and what it gives; a gated feed-forward network its gate, the gate's activation, the other half and
    their product.
    """
    width = formats.products
    norms = 2 * (formats.states + 4 + width) * shape.hidden
    attention = width * (3 * shape.query_width + 4 * shape.kv_width)
    feed_forward = width * (4 if shape.gated else 2) * shape.intermediate
    kept = rows.tokens * (norms + attention + feed_forward)
    scores = rows.rows * shape.heads * rows.length**2 * (4 + width) if formats.scores else 0
    return kept + scores


def logits(shape: ModelShape, formats: Formats, rows: RowLengths) -> float:
    """Return the bytes of the head's output: as computed, in float32, and its gradient."""
    positions = rows.tokens if formats.every_logit else rows.rows * min(rows.answer, rows.length)
    return positions * shape.vocabulary * (formats.products + 8)


def recipe_memory(
    shape: ModelShape, recipe: Trained, formats: Formats, *, length: int, answer: int = _ANSWER
) -> Memory:
    """Return the memory of one training step of `recipe` on rows of `length` tokens, of which `answer` are learned.

    Where devices share the work it is that of each of them. Preference methods compute both answers of a pair;
    reinforcement the completions of a prompt, and keeps their keys and values while it draws them. A reference of a
    fully tuned policy, and a reward model, are models of their own.
    """
    devices = devices_of(recipe)
    texts = math.ceil((recipe.micro_batch_size or recipe.batch_size) / devices) * _texts(recipe)
    found = training_memory(shape, recipe.adapter, formats, RowLengths(rows=texts, length=length, answer=answer))
    parts = (*found.parts, *_beside(shape, recipe, formats, length=length, texts=texts))
    if isinstance(recipe, SFT) and devices > 1:
        parts = _shared(shape, parts, formats, sharing=recipe.sharing, devices=devices)
    answering = answering_memory(shape, formats)
    more = answering - sum(part.bytes for part in parts)
    return replace(found, parts=(*parts, *([Part(_AFTERWARDS, more)] if more > 0 else [])), answering=answering)


def devices_of(recipe: Trained) -> int:
    """Return how many devices train the recipe together."""
    return recipe.devices if isinstance(recipe, SFT) else 1


def _shared(
    shape: ModelShape, parts: tuple[Part, ...], formats: Formats, *, sharing: str, devices: int
) -> tuple[Part, ...]:
    """Return the parts that each device holds; weights that are divided are gathered a block at a time."""
    divided = _DIVIDED[sharing]
    held = tuple(Part(one.name, one.bytes // devices if one.name in divided else one.bytes) for one in parts)
    if "weights" not in divided:
        return held
    block = sum(linear.weights for linear in shape.linears)
    return (*held, Part("gathered block", round(block * (formats.products + formats.gradient))))


def _texts(recipe: Trained) -> int:
    """Return how many texts an example of the recipe is."""
    if isinstance(recipe, GRPO | RLOO):
        return recipe.generations
    return 2 if isinstance(recipe, DPO | KTO) or type(recipe).__name__ in ("ORPO", "RewardModel") else 1


def _beside(shape: ModelShape, recipe: Trained, formats: Formats, *, length: int, texts: int) -> tuple[Part, ...]:
    parts = []
    if isinstance(recipe.adapter, Full) and _has_reference(recipe):
        parts.append(("reference", shape.parameters * formats.base))
    if isinstance(recipe, PPO | RLOO) and getattr(recipe, "reward", None) is None:
        parts.append(("reward model", shape.parameters * formats.base))
    if isinstance(recipe, PPO | RLOO | GRPO):
        drawn = texts if isinstance(recipe, GRPO | RLOO) else recipe.batch_size
        parts.append(("keys and values", shape.kv_cache_bytes(drawn * length, width=round(formats.products))))
    return tuple(Part(name, round(size)) for name, size in parts)


def _has_reference(recipe: Trained) -> bool:
    if isinstance(recipe, DPO):
        return recipe.loss != "simpo"
    return isinstance(recipe, KTO | PPO) or (isinstance(recipe, GRPO | RLOO) and recipe.beta > 0)


def _virtual(adapter: Adapter) -> int:
    """Return the tokens that the adapter puts before a text; prefixes are keys and values only."""
    return adapter.tokens if isinstance(adapter, PromptTuning | PTuning) else 0
