"""Own adapters on a base: counted, taken off, switched off, merged, kept on disk."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import StageFailed
from harness.inference.models import adapters as attached
from harness.inference.models import adapters as own
from harness.recipes import MAM, BitFit, Bottleneck
from harness.recipes.adapters import Adapter

HIDDEN, KEYS, LAYERS = 32, 16, 2  # of the small Llama


def network_size(width: int) -> int:
    return 2 * HIDDEN * width + width + HIDDEN  # Houlsby et al. 2019, section 2.1: 2md + d + m


SIZES = {
    "pfeiffer": LAYERS * network_size(HIDDEN // 4),
    "houlsby": 2 * LAYERS * network_size(HIDDEN // 4),
    "mam": LAYERS * (2 * 3 * KEYS + network_size(8)),
    # Two low-rank updates, a prefix, a network, and a gate of hidden + 1 for each of the four.
    "unipelt": LAYERS
    * (4 * (HIDDEN + HIDDEN) + 4 * (HIDDEN + KEYS) + 2 * 3 * KEYS + network_size(HIDDEN // 8) + 4 * (HIDDEN + 1)),
    "bitfit": 2 * LAYERS * HIDDEN + HIDDEN,  # two norms a layer and the last
}


@pytest.mark.parametrize("kind", SIZES)
def test_parameters_are_those_of_the_closed_forms(make, adapters, kind: str) -> None:
    model = make("llama")
    whole = sum(weight.numel() for weight in model.parameters())
    assert attached.count_parameters(own.add_custom_modules(model, adapters[kind])) == (
        SIZES[kind],
        whole + SIZES[kind],
    )


def test_published_counts_are_met_on_a_model_without_weights() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(  # Llama-3.2-3B
            LlamaConfig(
                vocab_size=128256,
                hidden_size=3072,
                intermediate_size=8192,
                num_hidden_layers=28,
                num_attention_heads=24,
                num_key_value_heads=8,
                head_dim=128,
                tie_word_embeddings=True,
            )
        )
    assert sum(weight.numel() for weight in model.parameters()) == 3_212_749_824
    assert attached.count_parameters(own.add_custom_modules(model, BitFit()))[0] == 175_104  # as LN tuning
    own.detach_custom(model)
    own.add_custom_modules(model, MAM(prefix_tokens=200, bottleneck=1))
    prefixes = [part for part in own.custom_modules(model).parts if hasattr(part, "keys")]
    assert sum(part.keys.numel() + part.values.numel() for part in prefixes) == 11_468_800  # as prefix tuning of 200


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
@torch.no_grad()
def test_switched_off_and_taken_off_leave_the_base_to_the_bit(
    make, move, adapter: Adapter, ids: torch.Tensor, name: str
) -> None:
    model = make(name)
    before, weights = model(ids).logits, {key: value.clone() for key, value in model.state_dict().items()}
    network = move(model, adapter)
    tuned = network(ids).logits
    with attached.switched_off(network):
        assert torch.equal(network(ids).logits, before)
    assert torch.equal(network(ids).logits, tuned)
    assert (tuned - before).abs().max() > 0.01

    base = attached.detach(network)
    assert base is model
    assert torch.equal(base(ids).logits, before)
    assert not attached.is_adapted(base)
    assert list(base.state_dict()) == list(weights)
    assert all(torch.equal(weights[key], value) for key, value in base.state_dict().items())


def test_only_the_adapter_is_trained(make, adapter: Adapter, ids: torch.Tensor) -> None:
    model = own.add_custom_modules(make("llama"), adapter)
    model(ids, labels=ids).loss.backward()

    with_gradient = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if name.startswith("harness_adapter.")}


@torch.no_grad()
def test_a_copied_network_has_an_adapter_of_its_own(make, move, adapter: Adapter, ids: torch.Tensor) -> None:
    """As trainers copy a policy for its reference."""
    model = move(make("llama"), adapter)
    before = model(ids).logits
    other = copy.deepcopy(model)
    for weight in own.custom_modules(other).parameters():
        weight += 1
    assert torch.equal(model(ids).logits, before)
    assert not torch.allclose(other(ids).logits, before)
    own.detach_custom(other)
    assert torch.equal(model(ids).logits, before)


_CHILD = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM
from harness.inference.models import adapters
base = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
ids = torch.load(sys.argv[2])
found = {}
for folder in map(Path, sys.argv[4:]):
    network = adapters.attach(base, folder)
    with torch.no_grad():
        found[folder.name] = network(ids).logits
    base = adapters.detach(network)
torch.save(found, sys.argv[3])
"""


@torch.no_grad()
def test_saved_adapters_answer_the_same_in_a_fresh_process(
    make, move, adapters: dict[str, Adapter], ids: torch.Tensor, tmp_path: Path
) -> None:
    expected = {}
    for kind, declared in adapters.items():
        model = move(make("llama"), declared)
        attached.save_adapter(model, tmp_path / kind, base="the-base")
        expected[kind] = model(ids).logits
        assert sorted(path.name for path in (tmp_path / kind).iterdir()) == [
            "adapter_model.safetensors",
            "harness_adapter.json",
        ]
        assert (
            sum(tensor.numel() for tensor in load_file(tmp_path / kind / "adapter_model.safetensors").values())
            == (SIZES[kind])
        )
        assert attached.is_adapter(tmp_path / kind)
    make("llama").save_pretrained(tmp_path / "base")
    torch.save(ids, tmp_path / "ids.pt")
    folders = [str(tmp_path / kind) for kind in adapters]
    arguments = [str(tmp_path / name) for name in ("base", "ids.pt", "found.pt")]
    subprocess.run([sys.executable, "-c", _CHILD, *arguments, *folders], check=True)

    found = torch.load(tmp_path / "found.pt")
    assert list(found) == list(adapters)
    for kind, logits in expected.items():
        assert torch.equal(found[kind], logits), kind


def test_the_file_beside_the_weights_declares_the_adapter(make, tmp_path: Path) -> None:
    attached.save_adapter(own.add_custom_modules(make("gpt2"), Bottleneck(kind="houlsby")), tmp_path, base="the-base")
    assert json.loads((tmp_path / "harness_adapter.json").read_text()) == {
        "format": 1,
        "kind": "Bottleneck",
        "settings": {"reduction": 16, "kind": "houlsby", "activation": "relu"},
        "base_model": "the-base",
        "base_type": "gpt2",
    }


@torch.no_grad()
def test_loaded_for_serving_it_has_the_bases_dtype_and_for_training_float32(
    make, move, adapter: Adapter, ids: torch.Tensor, tmp_path: Path
) -> None:
    exact = move(make("llama"), adapter)
    attached.save_adapter(exact, tmp_path, base="the-base")
    served = attached.attach(make("llama").bfloat16(), tmp_path)
    assert {weight.dtype for weight in own.custom_modules(served).parameters()} == {torch.bfloat16}
    assert not any(weight.requires_grad for weight in served.parameters())
    trained = attached.attach(make("llama").bfloat16(), tmp_path, trainable=True)
    assert {weight.dtype for weight in own.custom_modules(trained).parameters()} == {torch.float32}
    assert all(weight.requires_grad for weight in own.custom_modules(trained).parameters())
    expected = exact(ids).logits
    for network in (served, trained):
        apart = (network(ids).logits.float() - expected).square().mean().sqrt() / expected.square().mean().sqrt()
        assert apart < 0.08


@torch.no_grad()
def test_bitfit_merges_into_a_plain_model(make, move, ids: torch.Tensor, tmp_path: Path) -> None:
    model = move(make("gpt2"), BitFit())
    tuned = model(ids).logits
    merged = attached.merge(model)
    assert not attached.is_adapted(merged)
    assert torch.equal(merged(ids).logits, tuned)
    merged.save_pretrained(tmp_path)
    assert not any("harness" in name for name in load_file(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pfeiffer", "^Bottleneck cannot be merged: its networks have a non-linearity between"),
        ("mam", "^MAM cannot be merged: its prefix is attended to"),
        ("unipelt", "^UniPELT cannot be merged: its gates open by the token"),
    ],
)
def test_what_cannot_be_merged_says_why(make, adapters, kind: str, reason: str) -> None:
    assert not adapters[kind].merges
    with pytest.raises(StageFailed, match=reason):
        attached.merge(own.add_custom_modules(make("llama"), adapters[kind]))


def test_a_checkpoint_holds_the_adapter_alone_and_gives_it_back(make, move, adapter: Adapter, tmp_path: Path) -> None:
    model = move(make("llama"), adapter)
    kept = {name: weight.clone() for name, weight in own.custom_modules(model).state_dict().items()}
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert weights
    assert all(name.startswith("harness_adapter.") for name in weights)

    with torch.no_grad():
        for weight in own.custom_modules(model).parameters():
            weight.zero_()
    lacking, unexpected = model.load_state_dict(weights, strict=False)
    assert (set(lacking), unexpected) == (set(model._keys_to_ignore_on_save), [])
    assert all(torch.equal(kept[name], weight) for name, weight in own.custom_modules(model).state_dict().items())


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda config: config.update(format=2), "is of format 2, and this version reads format 1"),
        (lambda config: config.update(kind="Sparse"), "declares a 'Sparse', which is no adapter"),
        (lambda config: config.update(settings={"reduction": 0}), r"reduction=0\): give a whole number"),
        (lambda config: config.update(settings={"depth": 2}), "declares no Bottleneck"),
        (lambda config: config.pop("settings"), "cannot be read .KeyError"),
        (lambda config: config.update(settings={"reduction": 8}), "size mismatch for parts.0.network.down.weight"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_the_base_stays(
    make, ids: torch.Tensor, tmp_path: Path, change: Any, fact: str
) -> None:
    attached.save_adapter(own.add_custom_modules(make("llama"), Bottleneck()), tmp_path, base="the-base")
    config = json.loads((tmp_path / "harness_adapter.json").read_text())
    change(config)
    (tmp_path / "harness_adapter.json").write_text(json.dumps(config))
    base = make("llama")
    with torch.no_grad():
        before = base(ids).logits
        with pytest.raises(StageFailed, match=f"does not load onto the base model: .*{fact}.*; delete the folder"):
            attached.attach(base, tmp_path)
        assert torch.equal(base(ids).logits, before)
    assert not attached.is_adapted(base)


def test_torn_weights_are_refused(make, tmp_path: Path) -> None:
    attached.save_adapter(own.add_custom_modules(make("llama"), Bottleneck()), tmp_path, base="the-base")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(StageFailed, match=r"adapter_model\.safetensors cannot be read"):
        attached.attach(make("llama"), tmp_path)


def test_bitfit_says_what_it_found(make) -> None:
    remarks = {name: attached.remarks(own.add_custom_modules(make(name), BitFit())) for name in ("llama", "qwen2")}
    ((llama,), (qwen2,)) = remarks.values()
    assert (llama.status, llama.detail) == (
        "warning",
        "the model has no bias: BitFit trains the scales of its 5 norms alone, 160 numbers; LoRA() or IA3() can learn "
        "more",
    )
    assert (qwen2.status, qwen2.detail) == ("ok", "BitFit trains 6 biases and the scales of 5 norms, 288 numbers")


def test_biases_alone_are_refused_where_there_is_none(make) -> None:
    with pytest.raises(StageFailed, match=r"LlamaForCausalLM has no bias at all, .* use BitFit\(\) .* LoRA\(\), IA3"):
        own.add_custom_modules(make("llama"), BitFit(norms=False))
    assert attached.count_parameters(own.add_custom_modules(make("qwen2"), BitFit(norms=False)))[0] == LAYERS * (
        32 + 16 + 16
    )


def test_after_an_error_inside_a_module_the_base_has_its_own_weights(make, move) -> None:
    model = move(make("qwen2"), BitFit())
    projection = model.model.layers[0].self_attn.q_proj
    original = projection.bias
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        projection(torch.zeros(1, 3))
    assert projection.bias is original
