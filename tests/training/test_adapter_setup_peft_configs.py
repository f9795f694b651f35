"""Parameters of adapters on models of known shape, against the figures that are published or follow from the shape."""

import re

import peft
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.errors import StageFailed
from harness.inference.models.adapters import count_parameters
from harness.recipes import (
    IA3,
    PEFT,
    AdaLoRA,
    Adapter,
    DoRA,
    LoRA,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
)
from harness.recipes.adapters import support_of
from harness.training.network import add_adapter

SMALL = LlamaConfig(
    vocab_size=128256,
    hidden_size=3072,
    intermediate_size=8192,
    num_hidden_layers=28,
    num_attention_heads=24,
    num_key_value_heads=8,
    head_dim=128,
    tie_word_embeddings=True,
)
LARGE = LlamaConfig(
    vocab_size=32000,
    hidden_size=4096,
    intermediate_size=11008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
)
# Of the small one's linear layers in a block, inputs and outputs together: q, o; k, v; gate, up, down.
A_RANK = 28 * (2 * (3072 + 3072) + 2 * (3072 + 1024) + 3 * (3072 + 8192))
OUTPUTS = 28 * (2 * 3072 + 2 * 1024 + 2 * 8192 + 3072)


def without_numbers(config: LlamaConfig) -> LlamaForCausalLM:
    """Return the model with the shapes of its weights and no memory behind them."""
    with torch.device("meta"):
        return LlamaForCausalLM(config)


def test_the_small_model_is_llama_3_2_3b() -> None:
    assert sum(weights.numel() for weights in without_numbers(SMALL).parameters()) == 3_212_749_824


@pytest.mark.parametrize(
    ("adapter", "trained"),
    [
        (LoRA(rank=32, targets=("q_proj", "v_proj")), 9_175_040),
        (LoRA(rank=10, targets=("gate_proj", "up_proj", "down_proj")), 9_461_760),
        (IA3(), 286_720),
        (PromptTuning(tokens=200), 614_400),
        (PTuningV2(tokens=200), 11_468_800),
        (PEFT(peft.LNTuningConfig()), 175_104),
        (DoRA(rank=4), 4 * A_RANK + OUTPUTS),
        (LoRA(rank=4, init="pissa"), 4 * A_RANK),
        (LoRA(rank=4, init="loftq"), 4 * A_RANK),
        (LoRA(rank=4, init="eva"), 4 * A_RANK),
        (QLoRA(rank=4), 4 * A_RANK),
        (AdaLoRA(rank=4, initial_rank=6), 6 * A_RANK + 6 * 7 * 28),
        (PTuning(tokens=20, hidden=100), 20 * 3072 + (3072 * 100 + 100) + (100 * 100 + 100) + (100 * 3072 + 3072)),
        (PrefixTuning(tokens=20), 20 * 1024 + (1024 * 512 + 512) + 513 * 28 * 2 * 1024),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_adapter_on_llama_3_2_3b_has_the_parameters_of_its_formula(adapter: Adapter, trained: int) -> None:
    assert count_parameters(add_adapter(without_numbers(SMALL), adapter))[0] == trained


def test_a_lora_of_rank_16_on_all_linear_layers_of_llama_2_7b_has_40_million() -> None:
    assert count_parameters(add_adapter(without_numbers(LARGE), LoRA(rank=16)))[0] == 39_976_960


def test_a_mapping_declares_the_same_method_as_its_config() -> None:
    told = {"peft_type": "loha", "r": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    meant = peft.LoHaConfig(r=4, alpha=8, target_modules=["q_proj", "v_proj"])
    made = support_of(PEFT(told)).peft_config()
    assert made is not None
    assert made.to_dict() == support_of(PEFT(meant)).peft_config().to_dict()
    assert PEFT(told).merges


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"peft_type": "LOHO"}, "peft_type='LOHO' is no method of peft; give one of ADALORA, "),
        ({"peft_type": "LOHA", "rank": 4}, "unexpected keyword argument 'rank'; its settings are alpha, "),
    ],
)
def test_a_mapping_that_peft_does_not_know_is_refused_with_what_it_knows(told: dict[str, object], said: str) -> None:
    with pytest.raises(StageFailed, match=re.escape(said)):
        support_of(PEFT(told)).peft_config()
