"""Prefixes that layers attend to: nothing that surrounds a text moves them, and nothing loses them silently."""

import pytest
import torch

from harness.errors import StageFailed
from harness.inference.models import adapters as attached
from harness.inference.models import adapters as own
from harness.recipes import MAM, UniPELT

WITH_PREFIX = ["mam", "unipelt"]


@pytest.mark.parametrize("kind", WITH_PREFIX)
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
@torch.no_grad()
def test_a_padded_batch_answers_as_each_text_alone(
    make, move, adapters, ids: torch.Tensor, name: str, kind: str
) -> None:
    model = move(make(name), adapters[kind])
    short = ids[1, 4:]  # 4 tokens shorter
    batch = torch.stack([ids[0], torch.cat([torch.zeros(4, dtype=torch.long), short])])
    mask = torch.ones_like(batch)
    mask[1, :4] = 0
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        logits = model(batch, attention_mask=mask, position_ids=places).logits
        torch.testing.assert_close(logits[0], model(ids[:1]).logits[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(logits[1, 4:], model(short[None]).logits[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", WITH_PREFIX)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
@torch.no_grad()
def test_generation_with_a_cache_says_what_the_whole_text_says(
    make, move, adapters, ids: torch.Tensor, name: str, kind: str
) -> None:
    model = move(make(name), adapters[kind])
    text = ids[:1]
    for _ in range(8):
        text = torch.cat([text, model(text, use_cache=False).logits[:, -1:].argmax(dim=-1)], dim=1)
    cached = model.generate(ids[:1], max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert torch.equal(cached, text)


@torch.no_grad()
def test_a_token_depends_on_no_later_one(make, move, adapters, ids: torch.Tensor) -> None:
    model = move(make("llama"), adapters["unipelt"])
    torch.testing.assert_close(model(ids[:, :6]).logits, model(ids).logits[:, :6], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", WITH_PREFIX)
@torch.no_grad()
def test_another_attention_is_an_error_and_no_lost_prefix(make, move, adapters, ids: torch.Tensor, kind: str) -> None:
    model = move(make("llama"), adapters[kind])
    model.config._attn_implementation = "harness_packed"
    with pytest.raises(ValueError, match="attention harness_packed cannot see a prefix; use sdpa or eager") as raised:
        model(ids)
    assert isinstance(raised.value, StageFailed)
    with attached.switched_off(model):
        assert model.model.layers[0].self_attn.config._attn_implementation == "harness_packed"


def test_networks_with_a_prefix_say_that_attention_is_changed(make, adapters) -> None:
    changed = {
        kind: attached.changes_attention(own.add_custom_modules(make("llama"), declared))
        for kind, declared in adapters.items()
    }
    assert changed == {"pfeiffer": False, "houlsby": False, "mam": True, "unipelt": True, "bitfit": False}
    assert not attached.changes_attention(make("llama"))
    assert not attached.is_prompt_learning(own.add_custom_modules(make("llama"), adapters["mam"]))


def test_attention_with_a_soft_cap_is_refused() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    small = Gemma2Config(
        vocab_size=90, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
    )  # fmt: skip
    model = Gemma2ForCausalLM(small).eval()
    with pytest.raises(StageFailed, match=r"Gemma2Attention attends with softcap, .* use Bottleneck\(\) or LoRA\(\)"):
        own.add_custom_modules(model, MAM())
    assert not attached.is_adapted(model)
    assert own.add_custom_modules(model, adapter_without_prefix()) is model


def adapter_without_prefix() -> object:
    from harness.recipes import Bottleneck

    return Bottleneck()


def test_fused_projections_of_an_unknown_order_are_refused() -> None:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    model = GPTNeoXForCausalLM(
        GPTNeoXConfig(vocab_size=90, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    )
    with pytest.raises(StageFailed, match=r"in GPTNeoXAttention \(query_key_value, dense\) the projections"):
        own.add_custom_modules(model, UniPELT())
    assert own.add_custom_modules(model, MAM()) is model
