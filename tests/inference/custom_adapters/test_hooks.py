"""Where own modules hang, and what is said of models in which they cannot."""

import pytest

from harness.errors import StageFailed
from harness.inference.custom_adapters.hooks import hidden_size, key_shapes, places


def test_each_layer_is_found_with_its_sublayers(make) -> None:
    llama, gpt2 = make("llama"), make("gpt2")
    assert [(place.attention, place.feed_forward) for place in places(llama)] == [
        (layer.self_attn, layer.mlp) for layer in llama.model.layers
    ]
    assert [place.attention for place in places(gpt2)] == [block.attn for block in gpt2.transformer.h]


def test_widths_are_read_from_the_model(make) -> None:
    assert key_shapes(make("llama")) == ((2, 8), (2, 8))
    assert key_shapes(make("gpt2")) == ((4, 8), (4, 8))
    assert hidden_size(make("gpt2")) == 32


def test_layers_without_a_feed_forward_module_are_refused() -> None:
    from transformers import OPTConfig, OPTForCausalLM

    model = OPTForCausalLM(
        OPTConfig(
            vocab_size=90,
            hidden_size=32,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            word_embed_proj_dim=32,
        )
    )
    with pytest.raises(StageFailed, match=r"OPTForCausalLM has no list of decoder layers .* hold .*fc1.* use LoRA\(\)"):
        places(model)


def test_attention_of_a_models_own_making_is_refused() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    model = BloomForCausalLM(BloomConfig(vocab_size=90, hidden_size=32, n_layer=2, n_head=4))
    with pytest.raises(StageFailed, match="BloomForCausalLM has attention of its own making"):
        places(model)
