"""Random small models of the architectures that users have."""

from pathlib import Path

import torch
from transformers import AutoTokenizer
from transformers.models.gemma2 import Gemma2Config, Gemma2ForCausalLM
from transformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt_neox import GPTNeoXConfig, GPTNeoXForCausalLM
from transformers.models.mistral import MistralConfig, MistralForCausalLM
from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
_OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.3}
MODELS = {
    "qwen3": lambda size: Qwen3ForCausalLM(Qwen3Config(vocab_size=size, **_SMALL)),
    "mistral": lambda size: MistralForCausalLM(MistralConfig(vocab_size=size, sliding_window=None, **_SMALL)),
    "gpt2": lambda size: GPT2LMHeadModel(GPT2Config(vocab_size=size, **_OLD)),
    "neox": lambda size: GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=size,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            initializer_range=0.3,
        )
    ),
    "mistral-window": lambda size: MistralForCausalLM(MistralConfig(vocab_size=size, sliding_window=16, **_SMALL)),
    "gemma2": lambda size: Gemma2ForCausalLM(Gemma2Config(vocab_size=size, **_SMALL)),
}
SHARING = ("qwen3", "mistral", "gpt2", "neox")


def folder_of(name: str, tiny_model: Path, folder: Path) -> Path:
    """Save a random model of the architecture, with the tiny model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    torch.manual_seed(0)
    model = MODELS[name](len(tokenizer))
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
