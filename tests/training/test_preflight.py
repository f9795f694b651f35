"""Whether an adapter fits a model is known from shapes, before anything is loaded."""

from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from harness.errors import InvalidExperiment
from harness.recipes import (
    IA3,
    MAM,
    PEFT,
    SFT,
    AdaLoRA,
    BitFit,
    Bottleneck,
    DoRA,
    Full,
    LoRA,
    PrefixTuning,
    PromptTuning,
    PTuning,
    QLoRA,
    UniPELT,
)
from harness.training.preflight import check_places
from harness.types.models import Model

LLAMA = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"


@pytest.fixture(scope="module")
def gpt2(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2, whose linear layers are Conv1D."""
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    GPT2LMHeadModel(GPT2Config(vocab_size=391, n_embd=32, n_layer=1, n_head=2, n_positions=64)).save_pretrained(folder)
    for path in tiny_model.glob("*token*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize(
    "adapter",
    [
        *(Full(), LoRA(), QLoRA(), DoRA(), LoRA(init="pissa"), LoRA(init="eva"), LoRA(init="loftq"), AdaLoRA(), IA3()),
        *(BitFit(), PrefixTuning(), PromptTuning(), PTuning(), Bottleneck(), MAM(), UniPELT()),
        LoRA(targets=("q_proj", "self_attn.v_proj")),
        PEFT({"peft_type": "VERA", "r": 4}),
        PEFT({"peft_type": "LORA", "target_modules": r".*\.(q|k)_proj"}),
    ],
    ids=lambda adapter: adapter.name,
)
def test_what_can_be_trained_is_let_through(tiny_model: Path, said, adapter) -> None:
    check_places(Model(str(tiny_model)), SFT(adapter=adapter), progress=said)
    assert said.lines == []


@pytest.mark.parametrize(
    ("adapter", "fact"),
    [
        (LoRA(targets=("q_proj", "q_prj")), f"targets names 'q_prj', and the model has {LLAMA}"),
        (QLoRA(targets=("c_attn",)), f"targets names 'c_attn', and the model has {LLAMA}"),
        (IA3(targets=("k_proj", "w2"), feedforward=("w2",)), f"feedforward names 'w2', and the model has {LLAMA}"),
        (BitFit(norms=False), "has no bias at all"),
        (LoRA(targets=("input_layernorm",)), "is not supported"),
        (PEFT({"peft_type": "LORA", "target_modules": ["dense"]}), "target_modules names 'dense'"),
        (PEFT({"peft_type": "LORA", "target_modules": "all-linear", "modules_to_save": ["score"]}), "modules_to_save"),
        (
            PEFT({"peft_type": "LORA", "target_modules": "all-linear", "layers_to_transform": [0, 5]}),
            "layers_to_transform names 5, and the model has 2 layers, 0 to 1",
        ),
        (PEFT({"peft_type": "LORA", "target_modules": r".*\.nowhere"}), f"its linear modules are {LLAMA}"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_is_not_there_is_named_with_what_is(tiny_model: Path, said, adapter, fact: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        check_places(Model(str(tiny_model)), SFT(adapter=adapter), progress=said)
    assert fact in str(refused.value)


def test_the_layers_of_gpt2_are_named_as_well(gpt2: Path, said) -> None:
    check_places(Model(str(gpt2)), SFT(adapter=LoRA(targets=("c_attn", "c_proj"))), progress=said)
    check_places(Model(str(gpt2)), SFT(adapter=LoRA()), progress=said)
    with pytest.raises(InvalidExperiment, match="'q_proj', and the model has c_attn, c_fc, c_proj"):
        check_places(Model(str(gpt2)), SFT(adapter=LoRA(targets=("q_proj",))), progress=said)
