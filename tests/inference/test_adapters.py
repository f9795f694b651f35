"""Switching between a base model, its adapters and whole tuned models."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.local.engine import LocalEngine, open_engine
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.types.models import Model
from harness.types.samples import Decoding, Message

PROMPTS = [(Message("user", text),) for text in ("Turn on the light", "Paris?", "a much longer question than those")]
REQUESTS = [(prompt, text) for prompt in PROMPTS for text in ("yes", "Paris is the capital")]


@pytest.fixture
def engine(tiny_model: Path, said) -> LocalEngine:
    return open_engine(Model(str(tiny_model), dtype="float32"), progress=said)


def weighed(engine: LocalEngine) -> list[float]:
    found = {p: x.logprob for places, batch in engine.likelihoods(REQUESTS) for p, x in zip(places, batch, strict=True)}
    return [found[position] for position in range(len(REQUESTS))]


def texts(engine: LocalEngine) -> list[str]:
    batches = engine.generate(PROMPTS, Decoding(max_tokens=10))
    found = {p: c.text for places, batch in batches for p, c in zip(places, batch, strict=True)}
    return [found[position] for position in range(len(PROMPTS))]


def trained(tiny_model: Path, folder: Path, config: peft.PeftConfig) -> peft.PeftModel:
    """Save an adapter whose every weight was moved, and return the model that holds it."""
    torch.manual_seed(1)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).eval()
    for name, weights in model.named_parameters():
        if weights.requires_grad:
            weights.data += torch.randn_like(weights) * (0.02 if "lora" in name else 0.5)
    model.save_pretrained(folder)
    return model


def reference(model: peft.PeftModel, tokenizer: object) -> list[float]:
    """Return PEFT's own log-likelihoods, one unpadded row at a time."""
    sums = []
    for prompt, text in REQUESTS:
        start, answer = prompt_ids(tokenizer, prompt), answer_ids(tokenizer, text, end=False)
        ids = torch.tensor([start + answer])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -len(answer) - 1 : -1]
        sums.append(float(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum()))
    return sums


CONFIGS = {
    "lora": peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    "dora": peft.LoraConfig(r=4, use_dora=True, target_modules="all-linear", task_type="CAUSAL_LM"),
    "ia3": peft.IA3Config(task_type="CAUSAL_LM"),
    "prompt": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "p-tuning": peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, encoder_hidden_size=16),
    "prefix": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
}


@pytest.mark.parametrize("method", CONFIGS)
def test_an_adapter_answers_as_peft_says_and_leaves_no_trace(
    engine: LocalEngine, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    base = weighed(engine)
    model = trained(tiny_model, tmp_path / method, CONFIGS[method])
    engine.use(tmp_path / method)
    tuned = weighed(engine)
    assert tuned == pytest.approx(reference(model, engine._tokenizer), abs=1e-4)
    assert max(abs(a - b) for a, b in zip(tuned, base, strict=True)) > 0.01
    assert engine.description["adapter"] == method
    engine.use(None)
    assert weighed(engine) == base


def test_two_adapters_take_turns_on_one_base(engine: LocalEngine, tiny_model: Path, tmp_path: Path) -> None:
    expected = {}
    for method in ("lora", "prompt", "ia3"):
        expected[method] = reference(trained(tiny_model, tmp_path / method, CONFIGS[method]), engine._tokenizer)
    weights = engine._network.model.embed_tokens.weight.data_ptr()
    for method in ("lora", "ia3", "prompt", "lora"):
        engine.use(tmp_path / method)
        assert weighed(engine) == pytest.approx(expected[method], abs=1e-4)
    assert engine._network.model.embed_tokens.weight.data_ptr() == weights


def test_a_whole_tuned_model_takes_the_place_of_the_base(
    engine: LocalEngine, tiny_model: Path, tmp_path: Path, said
) -> None:
    before = texts(engine)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.model.layers[1].mlp.up_proj.weight.data *= -1
    model.save_pretrained(tmp_path / "full")
    engine.use(tmp_path / "full")
    during = texts(engine)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tiny_model / name).exists():
            shutil.copy(tiny_model / name, tmp_path / "full")
    alone = open_engine(Model(str(tmp_path / "full"), dtype="float32"), progress=said)
    assert during == texts(alone)
    assert during != before
    engine.use(None)
    assert texts(engine) == before


def test_a_folder_that_holds_neither_is_refused(engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"neither an adapter \(.* or harness_adapter.json\) nor a model"):
        engine.use(tmp_path)


def test_an_adapter_of_another_model_is_refused(engine: LocalEngine, tiny_model: Path, tmp_path: Path) -> None:
    trained(tiny_model, tmp_path / "lora", CONFIGS["lora"])
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    config["target_modules"] = ["no_such_layer"]
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config))
    before = weighed(engine)
    with pytest.raises(StageFailed, match="does not load onto the base model"):
        engine.use(tmp_path / "lora")
    assert weighed(engine) == before


def test_a_broken_whole_model_is_refused_and_the_base_stays(engine: LocalEngine, tmp_path: Path) -> None:
    before = texts(engine)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidExperiment, match="cannot be loaded as a causal language model"):
        engine.use(tmp_path)
    assert texts(engine) == before
