"""Own modules compute what their papers say, checked against a Llama written out by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import gelu

from harness.inference.models import adapters as own
from harness.recipes import MAM, Bottleneck, UniPELT

Update = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]


def untouched(_: int, __: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    return states


def rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = states.shape[-1] // 2
    return states * cos + torch.cat([-states[..., half:], states[..., :half]], dim=-1) * sin


def written_out(
    model: Any,
    ids: torch.Tensor,
    *,
    query: Update = untouched,
    value: Update = untouched,
    attended: Update = untouched,
    fed: Update = untouched,
    prefix: Callable[[int, torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] | None = None,
) -> torch.Tensor:
    """Return the logits, one text, one layer, one head and one token at a time.

    query, value, attended, fed: what becomes of (layer, input, output) of a projection or sublayer. prefix: of (layer,
    input), the keys and values, (key heads, tokens, width), and the gate's value of each token, (time, 1).
    """
    found = []
    for text in ids:
        states = model.model.embed_tokens(text)  # (time, hidden)
        places = torch.arange(len(text))[None]
        cos, sin = (part[0] for part in model.model.rotary_emb(states[None], places))
        for number, layer in enumerate(model.model.layers):
            inputs = layer.input_layernorm(states)
            queries = query(number, inputs, layer.self_attn.q_proj(inputs))
            keys, values = layer.self_attn.k_proj(inputs), value(number, inputs, layer.self_attn.v_proj(inputs))
            far = None if prefix is None else prefix(number, inputs)
            mixed = []
            for head in range(4):
                own_query = rotated(queries[:, head * 8 : head * 8 + 8], cos, sin)
                start = head // 2 * 8  # two heads share a key head
                own_keys = rotated(keys[:, start : start + 8], cos, sin)
                mixed.append(one_head(own_query, own_keys, values[:, start : start + 8], head // 2, far))
            output = layer.self_attn.o_proj(torch.cat(mixed, dim=-1))
            states = states + attended(number, inputs, output)
            inputs = layer.post_attention_layernorm(states)
            states = states + fed(number, inputs, layer.mlp(inputs))
        found.append(model.lm_head(model.model.norm(states)))
    return torch.stack(found)


def one_head(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, shared: int, far: Any) -> torch.Tensor:
    answers = []
    for at in range(len(query)):
        seen_keys, seen_values = keys[: at + 1], values[: at + 1]
        if far is not None:
            gate = far[2][at]
            seen_keys = torch.cat([gate * far[0][shared], seen_keys])
            seen_values = torch.cat([gate * far[1][shared], seen_values])
        weights = torch.softmax(seen_keys @ query[at] / 8**0.5, dim=0)
        answers.append(weights @ seen_values)
    return torch.stack(answers)


def network(part: Any, states: torch.Tensor, activation: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    down, up = part.network.down, part.network.up
    return activation(states @ down.weight.T + down.bias) @ up.weight.T + up.bias


def opened(gate: Any, states: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-(states @ gate.linear.weight.T + gate.linear.bias)))


@torch.no_grad()
def test_pfeiffer_adds_an_update_of_the_feed_forward_output(make, move, ids: torch.Tensor) -> None:
    model = move(make("llama"), Bottleneck(reduction=4))
    parts = own.custom_modules(model).parts
    logits = model(ids).logits
    own.detach_custom(model)

    expected = written_out(model, ids, fed=lambda n, _, h: h + network(parts[n], h, torch.relu))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert len(parts) == 2
    assert parts[0].network.down.weight.shape == (8, 32)


@torch.no_grad()
def test_houlsby_adds_one_after_attention_too(make, move, ids: torch.Tensor) -> None:
    model = move(make("llama"), Bottleneck(reduction=4, kind="houlsby", activation="gelu"))
    parts = own.custom_modules(model).parts
    logits = model(ids).logits
    own.detach_custom(model)

    expected = written_out(
        model,
        ids,
        attended=lambda n, _, h: h + network(parts[2 * n], h, gelu),
        fed=lambda n, _, h: h + network(parts[2 * n + 1], h, gelu),
    )
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_mam_has_a_prefix_and_four_times_an_update_of_the_feed_forward_input(make, move, ids: torch.Tensor) -> None:
    model = move(make("llama"), MAM(prefix_tokens=3, bottleneck=8))
    parts = own.custom_modules(model).parts  # a prefix and a network in each layer
    logits = model(ids).logits
    own.detach_custom(model)

    expected = written_out(
        model,
        ids,
        prefix=lambda n, x: (parts[2 * n].keys, parts[2 * n].values, torch.ones(len(x), 1)),
        fed=lambda n, x, h: h + 4 * network(parts[2 * n + 1], x, torch.relu),
    )
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_unipelt_gates_each_of_its_parts_by_the_token(make, move, ids: torch.Tensor) -> None:
    model = move(make("llama"), UniPELT(rank=4, alpha=2, prefix_tokens=3, reduction=8))
    parts = own.custom_modules(model).parts  # queries, values, prefix and network in each layer
    logits = model(ids).logits
    own.detach_custom(model)

    def low_rank(place: int) -> Update:
        def update(layer: int, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            part = parts[4 * layer + place]
            return h + opened(part.gate, x) * (2 / 4) * (x @ part.down.weight.T @ part.up.weight.T)

        return update

    expected = written_out(
        model,
        ids,
        query=low_rank(0),
        value=low_rank(1),
        prefix=lambda n, x: (parts[4 * n + 2].keys, parts[4 * n + 2].values, opened(parts[4 * n + 2].gate, x)),
        fed=lambda n, _, h: h + opened(parts[4 * n + 3].gate, h) * network(parts[4 * n + 3], h, torch.relu),
    )
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_unipelt_updates_queries_and_values_of_a_fused_projection_and_no_keys(make, move, ids: torch.Tensor) -> None:
    model = make("gpt2")
    fused = model.transformer.h[0].attn.c_attn
    inputs = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(3))
    before = fused(inputs)
    move(model, UniPELT(rank=4))
    after = fused(inputs)

    assert torch.equal(after[..., 32:64], before[..., 32:64])
    first, second = own.custom_modules(model).parts[:2]
    for part, columns in ((first, slice(0, 32)), (second, slice(64, 96))):
        update = opened(part.gate, inputs) * (2 / 4) * (inputs @ part.down.weight.T @ part.up.weight.T)
        torch.testing.assert_close(after[..., columns], before[..., columns] + update, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_bitfit_computes_with_its_copies(make, move, ids: torch.Tensor, adapters) -> None:
    model = move(make("qwen2"), adapters["bitfit"])
    logits = model(ids).logits
    copies = {
        f"{part.place}.{name}": weight
        for part in own.custom_modules(model).parts
        for name, weight in part.copies.items()
    }
    own.detach_custom(model)
    whole = model.state_dict()
    assert {name.rpartition(".")[2] for name in copies} == {"weight", "bias"}
    model.load_state_dict({**whole, **copies})
    assert torch.equal(model(ids).logits, logits)


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
@torch.no_grad()
def test_networks_start_from_the_base_exactly(make, ids: torch.Tensor, name: str, adapters) -> None:
    for kind in ("pfeiffer", "houlsby", "bitfit"):
        model = make(name)
        before = model(ids).logits
        own.add_custom_modules(model, adapters[kind])
        assert torch.equal(model(ids).logits, before), kind


@pytest.mark.parametrize("kind", ["mam", "unipelt"])
@torch.no_grad()
def test_a_prefix_starts_as_keys_and_values_of_nearly_zero(make, ids: torch.Tensor, kind: str, adapters) -> None:
    """All but the prefix start from the base exactly; keys of 0 still take their share of the softmax."""
    model = make("llama")
    own.add_custom_modules(model, adapters[kind])
    started = model(ids).logits
    own.detach_custom(model)

    def nothing(_: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.zeros(2, 3, 8), torch.zeros(2, 3, 8), torch.ones(len(x), 1)

    expected = written_out(model, ids, prefix=nothing)
    assert (started - expected).abs().mean() < 0.03 * expected.std()
