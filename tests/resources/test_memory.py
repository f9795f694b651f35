"""Memory part by part: published sums exactly, published measurements within a quarter."""

from dataclasses import replace

import pytest

from harness.recipes import DPO, GRPO, IA3, KTO, PPO, SFT, Full, LoRA, PromptTuning, QLoRA
from harness.resources.memory import (
    NF4_BYTES,
    Formats,
    RowLengths,
    base_weights,
    logits,
    recipe_memory,
    training_memory,
)
from harness.resources.model_shape import shape_of
from tests.resources.test_model_shape import LLAMA_3B, SMOLLM

LLAMA_65B = {
    "model_type": "llama", "hidden_size": 8192, "intermediate_size": 22016, "num_hidden_layers": 80,
    "num_attention_heads": 64, "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip
# Everything in bfloat16, the optimizer's two moments too, attention by a kernel that keeps no scores: how the
# published measurements on GPUs were made.
PURE_BFLOAT16 = Formats(
    base=2, trained=2, gradient=2, optimizer=4, products=2, states=2, scores=False, every_logit=True
)


@pytest.mark.parametrize(
    ("adapter", "measured"),
    [
        (Full(), 36.2),
        (LoRA(rank=32, targets=("q_proj", "v_proj")), 20.8),
        (IA3(), 21.6),
        (PromptTuning(tokens=200), 22.7),
    ],
)
def test_a_model_of_three_billion_takes_what_was_measured(adapter, measured: float) -> None:
    """Llama-3.2-3B in bfloat16, batch 4, length 768, nothing recomputed: GiB at the peak."""
    found = training_memory(shape_of(LLAMA_3B), adapter, PURE_BFLOAT16, RowLengths(rows=4, length=768))
    assert found.total / 2**30 == pytest.approx(measured, rel=0.15)


def test_a_model_of_65_billion_in_sixteen_and_in_four_bits() -> None:
    """Dettmers et al. 2023: 780 GB for weights, gradients and Adam in 16 and 32 bits, 33.5 GB in NF4."""
    assert 65e9 * (2 + 2 + 8) == 780e9
    mixed = Formats(trained=2, gradient=2, optimizer=8)
    found = training_memory(shape_of(LLAMA_65B), Full(), mixed, RowLengths(rows=1, length=1))
    kept = found.of("weights") + found.of("gradients") + found.of("optimizer")
    assert kept == shape_of(LLAMA_65B).parameters * 12
    assert kept == pytest.approx(780e9, rel=0.01)
    assert pytest.approx(33.5e9, rel=0.002) == 65e9 * NF4_BYTES
    # The embeddings and the head stay in 16 bits.
    assert base_weights(shape_of(LLAMA_65B), QLoRA(), PURE_BFLOAT16) == pytest.approx(33.5e9, rel=0.05)


def test_the_parts_of_a_lora_run_by_hand() -> None:
    shape = shape_of(SMOLLM)
    formats = Formats(base=2, products=2, states=2, runtime=100)
    found = training_memory(shape, LoRA(rank=16), formats, RowLengths(rows=8, length=128, answer=16))

    a_layer = 16 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))
    assert found.trained == 30 * a_layer
    assert {part.name: part.bytes for part in found.parts} == {
        "libraries": 100,
        "weights": 2 * 134_515_008,
        "adapter": 4 * 30 * a_layer,
        "gradients": 4 * 30 * a_layer,
        "optimizer": 8 * 30 * a_layer,
        # Norms 2 (2 + 4 + 2) 576, attention 2 (3 576 + 4 192), feed-forward 2 4 1536; scores 6 bytes each.
        "activations": 30 * (8 * 128 * (9216 + 4992 + 12288) + 8 * 9 * 128 * 128 * 6),
        "logits": 8 * 16 * 49152 * 10,
    }


def test_full_tuning_holds_every_weight_four_times() -> None:
    shape = shape_of(SMOLLM)
    found = training_memory(shape, Full(), Formats(), RowLengths(rows=1, length=8))
    assert sum(found.of(name) for name in ("weights", "gradients", "optimizer")) == 16 * shape.parameters
    assert found.of("adapter") == 0


def test_a_model_trained_in_four_bits_is_served_in_sixteen() -> None:
    shape = shape_of(LLAMA_3B)
    formats = Formats(base=2, products=2, states=2, served=2, runtime=100)
    found = recipe_memory(shape, SFT(adapter=QLoRA(), batch_size=1), formats, length=64)
    assert found.total == found.answering == 100 + 2 * shape.parameters
    assert 0 < found.of("serving afterwards") < 2 * shape.parameters
    assert found.training == found.total - found.of("serving afterwards")
    plain = recipe_memory(shape, SFT(adapter=LoRA(), batch_size=1), formats, length=64)
    assert (plain.of("serving afterwards"), plain.training) == (0, plain.total)
    few = recipe_memory(shape, SFT(adapter=QLoRA()), replace(formats, served_in_4_bits=True), length=64)
    whole = shape.parameters - shape.linear_weights
    assert few.answering == round(100 + shape.linear_weights * 4.127 / 8 + 2 * whole)


def test_only_answers_are_projected_unless_all_positions_are() -> None:
    shape = shape_of(SMOLLM)
    assert logits(shape, Formats(products=2), RowLengths(rows=2, length=100, answer=10)) == 20 * 49152 * 10
    assert logits(shape, Formats(products=2, every_logit=True), RowLengths(rows=2, length=100)) == 200 * 49152 * 10


def test_what_a_method_holds_beside_the_policy() -> None:
    shape, formats = shape_of(SMOLLM), Formats(base=2, products=2, states=2)

    def names(recipe) -> dict[str, int]:
        found = recipe_memory(shape, recipe, formats, length=64, answer=16)
        return {part.name: part.bytes for part in found.parts}

    plain = names(SFT(adapter=LoRA()))
    assert set(plain) == {"weights", "adapter", "gradients", "optimizer", "activations", "logits"}
    # Two answers a pair, so twice the activations; with an adapter the reference is the base itself.
    assert names(DPO(adapter=LoRA()))["activations"] == 2 * plain["activations"]
    assert "reference" not in names(DPO(adapter=LoRA()))
    assert names(DPO(adapter=Full()))["reference"] == 2 * shape.parameters
    assert names(KTO(adapter=Full()))["reference"] == 2 * shape.parameters
    assert "reference" not in names(DPO(adapter=Full(), loss="simpo"))
    policy = names(GRPO(adapter=LoRA(), reward=_grade, batch_size=2, generations=4))
    assert policy["keys and values"] == shape.kv_cache_bytes(8 * 64)
    assert policy["activations"] == plain["activations"]
    assert names(PPO(adapter=LoRA()))["reward model"] == 2 * shape.parameters


def _grade(sample, answer) -> float:
    return 1.0


def test_smaller_parts_of_a_batch_take_less_and_the_weights_take_the_same() -> None:
    shape = shape_of(SMOLLM)
    whole = recipe_memory(shape, SFT(batch_size=8), Formats(), length=128)
    parts = recipe_memory(shape, SFT(batch_size=8, micro_batch_size=2), Formats(), length=128)
    assert parts.of("activations") * 4 == whole.of("activations")
    assert parts.of("weights") == whole.of("weights")
