"""PPO on a bandit of which the best policy is known: the reference, tilted by exp(reward / beta)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness.inference.models.loading import load_model, model_of
from harness.recipes import PPO, Full
from harness.training.rl.ppo import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.samples import Answer, Example, Message, Sample

_WORDS = ("<end>", "?", "a", "b", "c", "d", "e", "f")
_BETA = 0.5


def worth(sample: Sample, answer: Answer) -> float:
    return {"a": 1.0, "b": 0.5, "c": -0.5}.get(answer.text, 0.0)


@pytest.fixture
def arm(tmp_path: Path) -> Model:
    """A language model of eight words."""
    core = Tokenizer(models.WordLevel({word: place for place, word in enumerate(_WORDS)}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>", unk_token="?").save_pretrained(
        tmp_path / "arm"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(_WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "arm")
    return Model(str(tmp_path / "arm"), dtype="float32")


def chances(network: Any) -> torch.Tensor:
    """Return the probability of each word as the answer to "?", (words,)."""
    with torch.inference_mode():
        found: torch.Tensor = network(input_ids=torch.tensor([[1]])).logits[0, -1].softmax(-1)
        return found


def test_the_policy_reaches_the_known_optimum(arm: Model, heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    example = Example(id="q", prompt=(Message("user", "?", verbatim=True),), answer="a")
    recipe = PPO(
        reward=worth,
        adapter=Full(),
        learning_rate=1e-2,
        value_rate=1e-2,
        batch_size=64,
        epochs=40,
        passes=2,
        beta=_BETA,
        kl_target=None,
        max_tokens=1,
    )
    result = fit(
        TuneJob(recipe=recipe, model=arm, train=(example,) * 64, dev=(), seed=1, folder=tmp_path / "run"),
        progress=heard,
    )

    start = chances(load_model(arm))
    rewards = torch.tensor([worth(None, Answer(sample_id="q", text=word)) for word in _WORDS])  # type: ignore[arg-type]
    best = start * (rewards / _BETA).exp()
    best /= best.sum()
    reached = chances(model_of(result.folder, device=torch.device("cpu"), dtype=torch.float32))

    def apart(policy: torch.Tensor) -> float:
        """Return the total variation from the best policy."""
        return float((policy - best).abs().sum() / 2)

    def gain(policy: torch.Tensor) -> float:
        """Return the expected reward less beta times the divergence from the start."""
        return float((policy * rewards).sum() - _BETA * (policy * (policy / start).log()).sum())

    assert apart(start) > 0.2
    assert apart(reached) < 0.03
    assert gain(reached) > gain(start) + 0.99 * (gain(best) - gain(start))
