"""Packed likelihoods against one unpadded row at a time, on the architectures that users have."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.gemma2 import Gemma2Config, Gemma2ForCausalLM
from transformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt_neox import GPTNeoXConfig, GPTNeoXForCausalLM
from transformers.models.mistral import MistralConfig, MistralForCausalLM
from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

from harness.engine.local import LocalEngine, open_engine
from harness.models import Model
from harness.samples import Likelihood, Message
from harness.weights.rendering import answer_ids, prompt_ids

SHOTS = "".join(f"Turn on light {number} in the kitchen, please. " for number in range(6))
QUESTIONS = ("What is the capital of France?", "Close the blinds.", "Turn on the light in the kitchen.")
CHOICES = ("Paris", "Paris is the capital", "Paris is the light", "no", "")

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


def requests(shots: str) -> list[tuple[tuple[Message, ...], str]]:
    return [((Message("user", shots + question),), choice) for question in QUESTIONS for choice in CHOICES]


def weighed(engine: LocalEngine, shots: str) -> list[Likelihood]:
    batches = engine.likelihoods(requests(shots))
    found = {place: likelihood for places, batch in batches for place, likelihood in zip(places, batch, strict=True)}
    return [found[place] for place in range(len(found))]


def reference(folder: Path, shots: str) -> list[tuple[float, bool]]:
    """Return (log-likelihood, whether greedy) of each request, computed in a row of its own."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for prompt, choice in requests(shots):
        answer = answer_ids(tokenizer, choice, end=False)
        ids = torch.tensor([prompt_ids(tokenizer, prompt) + answer])
        with torch.no_grad():
            scores = model(input_ids=ids).logits[0, ids.shape[1] - len(answer) - 1 : -1].log_softmax(-1)
        target = torch.tensor(answer, dtype=torch.long)
        found.append((float(scores.gather(1, target[:, None]).sum()), bool((scores.argmax(-1) == target).all())))
    return found


@pytest.mark.parametrize("shots", ["", SHOTS], ids=["zero-shot", "shots"])
@pytest.mark.parametrize("name", MODELS)
def test_likelihoods_are_those_of_rows_of_their_own(name: str, shots: str, tiny_model: Path, tmp_path, said) -> None:  # type: ignore[no-untyped-def]
    folder = folder_of(name, tiny_model, tmp_path)
    engine = open_engine(Model(str(folder), dtype="float32"), progress=said)
    expected = reference(folder, shots)
    for _ in range(2):
        found = weighed(engine, shots)
        assert [one.logprob for one in found] == pytest.approx([logprob for logprob, _ in expected], abs=1e-4)
        assert [one.greedy for one in found] == [greedy for _, greedy in expected]
    lines = [line for line in said.lines if "cannot share" in line]
    assert len(lines) == (0 if name in SHARING else 1)


def test_a_packed_pass_reads_each_distinct_token_once(tiny_model: Path, said) -> None:  # type: ignore[no-untyped-def]
    engine = open_engine(Model(str(tiny_model), dtype="float32"), progress=said)
    weighed(engine, SHOTS)  # the check of the first rows is behind us
    read: list[int] = []
    embeddings = engine._network.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    weighed(engine, SHOTS)
    hook.remove()
    tokenizer = engine._tokenizer
    rows = [
        tuple(prompt_ids(tokenizer, prompt) + answer_ids(tokenizer, choice, end=False)[:-1])
        for prompt, choice in requests(SHOTS)
    ]
    distinct = {row[:length] for row in rows for length in range(1, len(row) + 1)}
    # Beginnings of fewer than eight tokens are computed again rather than shared.
    assert len(distinct) <= sum(read) <= len(distinct) + 8 * len(QUESTIONS)
    assert sum(map(len, rows)) > 8 * sum(read)
