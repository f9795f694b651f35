"""A model that answers with its linear layers in 4 bits."""

from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.inference.local.engine import LocalEngine, open_engine
from harness.types.models import Model
from harness.types.samples import Decoding, Message

ASKED = [((Message("user", "Turn on the light"),), "yes"), ((Message("user", "Paris?"),), "Paris")]


@pytest.fixture
def few(tiny_model: Path, said) -> LocalEngine:
    return open_engine(Model(str(tiny_model), dtype="float32", quantize="nf4"), progress=said)


def weighed(engine: LocalEngine) -> list[float]:
    return [item.logprob for _, batch in engine.likelihoods(ASKED) for item in batch]


def test_its_layers_are_in_4_bits_and_its_answers_its_own(few: LocalEngine, tiny_model: Path, said) -> None:
    whole = open_engine(Model(str(tiny_model), dtype="float32"), progress=said)
    layer = few._network.model.layers[0].mlp.up_proj
    assert (type(layer).__name__, layer.weight.quant_type) == ("Linear4bit", "nf4")
    assert (few.description["quantize"], whole.description.get("quantize")) == ("nf4", None)
    answers = [
        answer for _, batch in few.generate([one for one, _ in ASKED], Decoding(max_tokens=4)) for answer in batch
    ]
    assert all(0 < answer.tokens_out <= 4 for answer in answers)
    assert weighed(few) != weighed(whole)
    assert weighed(few) == pytest.approx(weighed(whole), rel=0.5)


def test_an_adapter_is_put_on_it_and_taken_off(few: LocalEngine, tiny_model: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).save_pretrained(tmp_path / "lora")
    before = weighed(few)
    few.use(tmp_path / "lora")
    tuned = weighed(few)
    few.use(None)
    assert weighed(few) == before
    assert tuned != pytest.approx(before)


def test_a_whole_tuned_model_is_in_4_bits_too(few: LocalEngine, tiny_model: Path) -> None:
    before = weighed(few)
    few.use(tiny_model)
    assert type(few._network.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    assert weighed(few) == pytest.approx(before)
