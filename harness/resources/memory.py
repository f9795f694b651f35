"""The memory that a training run takes at its peak, part by part."""

import math
from dataclasses import dataclass, replace

from harness.recipes import DPO, GRPO, KTO, ORPO, PPO, RLOO, SFT, RewardModel, Trained
from harness.recipes.adapters import Adapter
from harness.types.shapes import ModelShape

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

    Args:
        base: Of a weight that is not trained.
        trained, gradient, optimizer: Of a trained weight, of its gradient, of what the optimizer keeps for it.
        products: Of what matrix products read and write.
        states: Of the states between blocks.
        scores: The attention's scores are held for the backward pass, as plain products do.
        every_logit: The output head computes all positions, not only those of answers.
        runtime: Of Python with its libraries, or of the GPU's context.
        served: Of a weight of the model that is loaded once training is over, to check the tuned system and to
            answer.
        served_in_4_bits: Its linear layers are in 4 bits then.
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
        """Return the bytes of one part, 0 if there is none of this name."""
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
    found = adapter.trained_parameters(shape)
    trained = round(_UNKNOWN_SHARE * shape.parameters) if found is None else found
    seen = replace(rows, length=rows.length + adapter.tokens_before)
    full = adapter.whole
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
    if adapter.quantization is None:
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
    return 2 if isinstance(recipe, DPO | KTO | ORPO | RewardModel) else 1


def _beside(shape: ModelShape, recipe: Trained, formats: Formats, *, length: int, texts: int) -> tuple[Part, ...]:
    parts = []
    if recipe.adapter.whole and _has_reference(recipe):
        parts.append(("reference", shape.parameters * formats.base))
    if isinstance(recipe, PPO | RLOO) and recipe.reward is None:
        parts.append(("reward model", shape.parameters * formats.base))
    if isinstance(recipe, PPO | RLOO | GRPO):
        drawn = texts if isinstance(recipe, GRPO | RLOO) else recipe.batch_size
        parts.append(("keys and values", shape.kv_cache_bytes(drawn * length, width=round(formats.products))))
    return tuple(Part(name, round(size)) for name, size in parts)


def _has_reference(recipe: Trained) -> bool:
    if isinstance(recipe, DPO):
        return recipe.loss != "simpo"
    return isinstance(recipe, KTO | PPO) or (isinstance(recipe, GRPO | RLOO) and recipe.beta > 0)
