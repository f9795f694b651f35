"""Where adapters start, and that what is saved fits the model as it was declared."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

from harness.errors import StageFailed
from harness.inference.models.adapters import attach
from harness.inference.models.loading import load_model, load_tokenizer
from harness.recipes import SFT, AdaLoRA, Adapter, LoRA, PrefixTuning, PromptTuning, PTuning, PTuningV2
from harness.training.adapter_setup import Supplies, moved_its_base, save_plain, supplies_of
from harness.training.network import add_adapter
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.samples import Message, Pair, Vote

IDS = torch.arange(3, 40)[None]
Jobs = Callable[..., TuneJob]


def logits(network: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network.eval()(input_ids=IDS).logits[:, -IDS.shape[1] :]
    return found


def rows(count: int = 8) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(3, 300, (20 + place,), generator=generator).tolist() for place in range(count)]


@pytest.mark.parametrize("init", ["default", "pissa", "olora", "eva"])
@pytest.mark.parametrize("rslora", [False, True], ids=["", "rslora"])
def test_before_training_the_network_is_the_base(tiny: Model, init: Any, rslora: bool) -> None:
    supplies = Supplies(load_tokenizer(tiny), rows)
    network = add_adapter(load_model(tiny, dtype=torch.float32), LoRA(rank=4, rslora=rslora, init=init), supplies)
    torch.testing.assert_close(logits(network), logits(load_model(tiny, dtype=torch.float32)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("init", ["pissa", "olora", "loftq"])
def test_these_starts_change_the_bases_weights(tiny: Model, init: Any) -> None:
    before = load_model(tiny, dtype=torch.float32).model.layers[0].mlp.up_proj.weight.data
    network = add_adapter(load_model(tiny, dtype=torch.float32), LoRA(rank=4, init=init))
    layer = network.base_model.model.model.layers[0].mlp.up_proj
    assert moved_its_base(network)
    assert float((layer.base_layer.weight.data - before).abs().max()) > 1e-3
    assert float(layer.lora_B["default"].weight.data.abs().max()) > 0


@pytest.mark.parametrize("init", ["pissa", "olora"])
@pytest.mark.parametrize("rslora", [False, True], ids=["", "rslora"])
def test_the_saved_adapter_on_the_declared_base_is_what_was_trained(tiny: Model, tmp_path, init: Any, rslora) -> None:
    network = add_adapter(load_model(tiny, dtype=torch.float32), LoRA(rank=4, alpha=6, rslora=rslora, init=init))
    torch.manual_seed(0)
    for name, weights in network.named_parameters():
        if "lora_" in name:
            weights.data += 0.05 * torch.randn_like(weights)
    trained = logits(network)
    save_plain(network, tmp_path, base="tiny")

    base = load_model(tiny, dtype=torch.float32)
    assert float((trained - logits(base)).abs().max()) > 0.1
    torch.testing.assert_close(logits(attach(base, tmp_path)), trained, rtol=1e-3, atol=1e-3)


def test_loftq_starts_nearer_the_weights_than_their_quantisation_is(tiny: Model) -> None:
    base = load_model(tiny, dtype=torch.float32)
    whole = deepcopy(base.model.layers[0].mlp.up_proj.weight.data)
    layer = add_adapter(base, LoRA(rank=8, alpha=24, init="loftq")).base_model.model.model.layers[0].mlp.up_proj
    kept = layer.base_layer.weight.data
    again = dequantize_4bit(*quantize_4bit(kept.contiguous(), quant_type="nf4"))
    plain = dequantize_4bit(*quantize_4bit(whole.contiguous(), quant_type="nf4"))

    torch.testing.assert_close(again, kept, rtol=1e-5, atol=1e-6)  # the weights are such as 4 bits hold
    mended = kept + layer.get_delta_weight("default")
    assert float((mended - whole).norm()) < 0.9 * float((plain - whole).norm())


def test_eva_starts_from_what_the_rows_make_a_layer_see(tiny: Model) -> None:
    base = load_model(tiny, dtype=torch.float32)
    seen: list[torch.Tensor] = []
    hook = base.model.layers[0].self_attn.q_proj.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        for row in rows():
            base(input_ids=torch.tensor([row]))
    hook.remove()
    inputs = torch.cat([states[0] for states in seen])  # (tokens, hidden)

    def explained(directions: torch.Tensor) -> float:
        basis = torch.linalg.qr(directions.T).Q
        return float((inputs @ basis).square().sum() / inputs.square().sum())

    found = {}
    for init in ("default", "eva"):
        torch.manual_seed(0)
        adapter = LoRA(rank=4, targets=("q_proj",), init=init)  # type: ignore[arg-type]
        network = add_adapter(load_model(tiny, dtype=torch.float32), adapter, Supplies(load_tokenizer(tiny), rows))
        layer = network.base_model.model.model.layers[0].self_attn.q_proj
        found[init] = explained(layer.lora_A["default"].weight.data) / layer.lora_A["default"].weight.shape[0]
    assert found["eva"] > 2 * found["default"]


def test_eva_without_rows_says_what_to_do(tiny: Model) -> None:
    with pytest.raises(StageFailed, match="starts from training rows, and there are none"):
        add_adapter(load_model(tiny, dtype=torch.float32), LoRA(init="eva"), Supplies(load_tokenizer(tiny)))


def test_virtual_tokens_start_as_the_texts_own_embeddings(tiny: Model) -> None:
    tokenizer, base = load_tokenizer(tiny), load_model(tiny, dtype=torch.float32)
    network = add_adapter(base, PromptTuning(tokens=7, text="the light"), Supplies(tokenizer))
    ids = tokenizer("the light", add_special_tokens=False)["input_ids"]
    expected = base.get_input_embeddings().weight[torch.tensor((ids * 7)[:7])]
    assert torch.equal(network.get_prompt(batch_size=1)[0], expected)


def test_a_start_looks_at_examples_and_at_preferred_answers(job: Jobs, tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)
    prompt = (Message("user", "red"),)
    made = job(
        SFT(),
        train=(),
        pairs=(Pair(id="p", prompt=prompt, chosen="blue", rejected="grey"),),
        votes=(
            Vote(id="a", prompt=prompt, answer="green", good=True),
            Vote(id="b", prompt=prompt, answer="x", good=False),
        ),
    )
    texts = [tokenizer.decode(row) for row in supplies_of(made, tokenizer).sequences()]
    assert [text.count("blue") + 2 * text.count("green") for text in texts] == [1, 2]


@pytest.mark.parametrize(
    "adapter",
    [PromptTuning(tokens=4), PTuningV2(tokens=4), AdaLoRA(rank=2, initial_rank=4), LoRA(rank=4, init="pissa")],
    ids=lambda adapter: adapter.name,
)
def test_a_second_step_goes_on_where_the_first_one_ended(job: Jobs, heard: Any, tmp_path, adapter: Adapter) -> None:
    recipe = SFT(adapter=adapter, epochs=1, learning_rate=2e-2, warmup=0, evaluate_every=3)
    first = fit(job(recipe, folder=tmp_path / "1"), progress=heard)
    # A rate of next to nothing: what is saved is what the second step began with.
    still = SFT(adapter=adapter, epochs=1, learning_rate=1e-12, weight_decay=0, evaluate_every=3)
    second = fit(job(still, folder=tmp_path / "2", start=first.folder), progress=heard)
    dev = [[point.value for point in result.log if point.name == "dev_loss"] for result in (first, second)]
    assert dev[1][-1] == pytest.approx(dev[0][-1], abs=1e-4)
    assert {check.name: check.status for check in second.checks}["saved system answers as trained"] == "ok"


@pytest.mark.parametrize("adapter", [PTuning(tokens=4), PrefixTuning(tokens=4)], ids=lambda adapter: adapter.name)
def test_an_encoder_that_was_not_kept_cannot_go_on(job: Jobs, heard: Any, tmp_path, adapter: Adapter) -> None:
    recipe = SFT(adapter=adapter, epochs=1, evaluate_every=3)
    first = fit(job(recipe, folder=tmp_path / "1"), progress=heard)
    with pytest.raises(StageFailed, match="the virtual tokens are kept, not the network that made them"):
        fit(job(recipe, folder=tmp_path / "2", start=first.folder), progress=heard)
