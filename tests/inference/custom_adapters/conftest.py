"""Small random decoders, and adapters on them whose every weight was moved."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from harness.inference.models import adapters as own
from harness.recipes import MAM, BitFit, Bottleneck, UniPELT
from harness.recipes.adapters import Adapter

_SMALL: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def decoder(name: str) -> Any:
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    torch.manual_seed(0)
    if name == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1, "eos_token_id": 2}
        made: Any = GPT2LMHeadModel(GPT2Config(vocab_size=90, initializer_range=0.3, **sizes))
    elif name == "qwen2":
        made = Qwen2ForCausalLM(Qwen2Config(**_SMALL))
    else:
        made = LlamaForCausalLM(LlamaConfig(**_SMALL))
    return made.eval()


def moved(network: Any, adapter: Adapter) -> Any:
    own.add_custom_modules(network, adapter)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in own.custom_modules(network).parameters():
            weight += 0.2 * torch.randn_like(weight)
    return network


ADAPTERS = {
    "pfeiffer": Bottleneck(reduction=4),
    "houlsby": Bottleneck(reduction=4, kind="houlsby", activation="gelu"),
    "mam": MAM(prefix_tokens=3, bottleneck=8),
    "unipelt": UniPELT(rank=4, prefix_tokens=3, reduction=8),
    "bitfit": BitFit(),
}


@pytest.fixture
def make() -> Callable[[str], Any]:
    """Return a maker of small random decoders: make("llama"), "qwen2" or "gpt2"; the same each time."""
    return decoder


@pytest.fixture
def move() -> Callable[[Any, Adapter], Any]:
    """Return what puts an adapter on a network and moves its every weight."""
    return moved


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """One adapter of each kind."""
    return ADAPTERS[request.param]


@pytest.fixture
def adapters() -> dict[str, Adapter]:
    """All of them by name."""
    return dict(ADAPTERS)


@pytest.fixture
def ids() -> torch.Tensor:
    """Two texts of eleven tokens."""
    return torch.randint(3, 90, (2, 11), generator=torch.Generator().manual_seed(2))
