"""The real vLLM beside transformers on the default model: minutes, so only where it is asked for and installed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments import vllm_executable
from harness.errors import MissingPackage
from harness.inference.local.engine import open_engine as open_local
from harness.inference.vllm.engine import VllmEngine, open_engine
from harness.types.models import Model
from harness.types.samples import Decoding, Likelihood, Message

SOURCE = "smollm2-135m-instruct"
PROMPTS = [(Message("user", f"What is the capital of {land}?"),) for land in ("France", "Japan", "Italy")]
REQUESTS = [(prompt, town) for prompt in PROMPTS for town in ("Paris", "Tokyo", "Rome is it", "")] + [
    ((Message("user", "Say hello."),), "Hello! How can I help you today?")
]


def _installed() -> bool:
    try:
        vllm_executable()
    except MissingPackage:
        return False
    return True


pytestmark = pytest.mark.skipif(
    os.environ.get("HARNESS_SLOW") != "1" or not _installed(),
    reason="set HARNESS_SLOW=1, after harness vllm install",
)


class Silent:
    def say(self, line: str) -> None:
        """Nobody listens."""


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter whose random weights change what is said."""
    from peft import LoraConfig, get_peft_model
    from torch import manual_seed

    from harness.inference.models.loading import load_model

    manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    folder = tmp_path_factory.mktemp("adapters") / "random"
    get_peft_model(load_model(Model(SOURCE, dtype="float32")), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[VllmEngine, Any]]:
    theirs = open_engine(Model(SOURCE, engine="vllm", dtype="float32"), progress=Silent())
    ours = open_local(Model(SOURCE, dtype="float32"), progress=Silent())
    yield theirs, ours
    theirs.close()
    ours.close()


def texts(engine: Any) -> list[tuple[str, int, int, bool]]:
    found = {}
    for places, batch in engine.generate(PROMPTS, Decoding(max_tokens=24)):
        found |= {place: (i.text, i.tokens_in, i.tokens_out, i.cut) for place, i in zip(places, batch, strict=True)}
    return [found[place] for place in range(len(PROMPTS))]


def likelihoods(engine: Any) -> list[Likelihood]:
    found = {}
    for places, batch in engine.likelihoods(REQUESTS):
        found |= dict(zip(places, batch, strict=True))
    return [found[place] for place in range(len(REQUESTS))]


def assert_alike(theirs: VllmEngine, ours: Any) -> None:
    assert texts(theirs) == texts(ours)
    got, expected = likelihoods(theirs), likelihoods(ours)
    assert [item.logprob for item in got] == pytest.approx([item.logprob for item in expected], abs=0.01)
    assert [(i.tokens, i.bytes, i.greedy) for i in got] == [(i.tokens, i.bytes, i.greedy) for i in expected]


def test_base_and_adapter_answer_as_they_do_here(engines: tuple[VllmEngine, Any], adapter: Path) -> None:
    theirs, ours = engines
    theirs.use(adapter)
    ours.use(adapter)
    assert_alike(theirs, ours)
    tuned = texts(theirs)
    theirs.use(None)
    ours.use(None)
    assert_alike(theirs, ours)
    assert texts(theirs) != tuned
