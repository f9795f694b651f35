"""Weights and tokenizers, their dtype, and what is wrong with a folder that does not load."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.local.engine import open_engine
from harness.inference.models.loading import choose_device, choose_dtype, describe_hardware, load_model, load_tokenizer
from harness.runner.context import SilentProgress
from harness.types.models import Model
from harness.types.samples import Decoding, Message


def test_dtype_as_declared(tiny_model: Path) -> None:
    for name in ("float32", "bfloat16"):
        model = load_model(Model(str(tiny_model), dtype=name))
        assert {str(weights.dtype) for weights in model.parameters()} == {f"torch.{name}"}
        assert not model.training


def test_auto_is_bfloat16_exactly_where_the_machine_multiplies_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for native, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert choose_dtype("auto", cpu) == expected
    assert choose_dtype("float16", cpu) == torch.float16
    assert choose_device("cpu") == cpu


def test_four_bit_weights_compute_close_to_full_ones(tiny_model: Path) -> None:
    full = load_model(Model(str(tiny_model)), dtype=torch.float32)
    small = load_model(Model(str(tiny_model)), dtype=torch.float32, quantize="nf4")
    layer = small.model.layers[0].mlp.up_proj
    assert (type(layer).__name__, layer.weight.quant_type) == ("Linear4bit", "nf4")
    assert layer.weight.quant_state.nested
    inputs = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, got = full.model.layers[0].mlp.up_proj(inputs), layer(inputs)
    # A random weight in 4 bits is off by about 10 %, so outputs correlate at 0.995.
    assert 0.98 < torch.nn.functional.cosine_similarity(expected.flatten(), got.flatten(), dim=0) < 0.9999


def test_the_environment_names_what_computed() -> None:
    found = describe_hardware(torch.device("cpu"), torch.bfloat16)
    assert {"device": "cpu", "dtype": "bfloat16", "torch": torch.__version__}.items() <= found.items()
    assert found["threads"] == torch.get_num_threads()


def test_a_broken_tokenizer_is_named(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidExperiment, match="m: the tokenizer cannot be loaded"):
        load_tokenizer(Model(str(tmp_path / "m")))


def test_torn_weights_are_named(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(InvalidExperiment, match=r"model\.safetensors is no whole safetensors file \(1,000 bytes\)"):
        load_model(Model(str(tmp_path / "m")))
    weights.write_bytes(whole[:-1])
    with pytest.raises(InvalidExperiment, match=rf"is cut short: {len(whole) - 1:,} bytes of {len(whole):,} are there"):
        load_model(Model(str(tmp_path / "m")))
    weights.write_bytes(whole)
    (tmp_path / "m" / "config.json").write_text('{"model_type": "strange"}')
    with pytest.raises(InvalidExperiment, match="m cannot be loaded as a causal language model"):
        load_model(Model(str(tmp_path / "m")))


def test_tokens_without_an_embedding_are_named(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    tokenizer = load_tokenizer(Model(str(tmp_path / "m")))
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<|tool|>", "additional_special_tokens": ["<|end_tool|>"]})
    tokenizer.save_pretrained(tmp_path / "m")
    told = (
        rf"2 tokens without an embedding: '<\|tool\|>' \({rows}\), '<\|end_tool\|>' \({rows + 1}\), where the model "
        rf"has {rows} rows, for tokens 0 to {rows - 1}; load both, call model\.resize_token_embeddings"
    )
    with pytest.raises(InvalidExperiment, match=told):
        open_engine(Model(str(tmp_path / "m")), progress=SilentProgress())


def test_weights_that_config_asks_for_and_that_are_not_there_are_named(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    config = tmp_path / "m" / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(InvalidExperiment, match=r"m: the weights lack 9 tensors .*model\.layers\.2\."):
        load_model(Model(str(tmp_path / "m")))


def test_the_head_gets_its_states_in_one_piece(tiny_model: Path) -> None:
    model = load_model(Model(str(tiny_model)))
    seen = []
    model.get_output_embeddings().register_forward_pre_hook(lambda _, states: seen.append(states[0].is_contiguous()))
    model(torch.ones(3, 5, dtype=torch.long), logits_to_keep=1)  # the last states of 5: a strided slice
    assert seen == [True]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "config.json",
            {"vocab_size": 5000},
            r"1 of the stored tensors are of another size .* \(391, 64\) where \(5000,",
        ),
        ("config.json", {"vocab_size": "many"}, "expected int, got str"),
        ("config.json", {"model_type": "t5"}, "cannot be loaded as a causal language model"),
        ("tokenizer_config.json", None, "the tokenizer cannot be loaded"),
        ("chat_template.jinja", None, "the tokenizer cannot be loaded"),
    ],
)
def test_what_a_library_says_of_a_broken_folder_is_one_line(
    tiny_model: Path, tmp_path: Path, capfd, name: str, content: dict[str, object] | None, said: str
) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    path = tmp_path / "m" / name
    if content is None:
        path.write_bytes(b"\xff\xfe[]")
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(InvalidExperiment, match=said) as refused:
        open_engine(Model(str(tmp_path / "m")), progress=SilentProgress())
    assert len(str(refused.value).splitlines()) == 1
    assert "LOAD REPORT" not in capfd.readouterr().err


def test_a_few_tokens_without_an_embedding_are_refused_only_where_they_are_asked(
    tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    tokenizer = load_tokenizer(Model(str(tmp_path / "m")))
    rows = len(tokenizer)
    tokenizer.add_tokens(["<image>"], special_tokens=True)  # as Gemma's has, whose text models cannot read it
    tokenizer.save_pretrained(tmp_path / "m")
    engine = open_engine(Model(str(tmp_path / "m"), dtype="float32"), progress=SilentProgress())
    fine, other = (Message("user", "Paris?"),), (Message("user", "What is <image>?"),)
    assert list(engine.generate([fine], Decoding(max_tokens=1)))
    told = rf"position 1: it holds the token '<image>' \({rows}\), and m has embeddings for tokens 0 to {rows - 1}"
    with pytest.raises(StageFailed, match=told):
        list(engine.generate([fine, other], Decoding(max_tokens=1)))
    with pytest.raises(StageFailed, match="it holds the token '<image>'"):
        list(engine.likelihoods([(fine, "an <image> it is")]))
    tokenizer.add_tokens([f"<{place}>" for place in range(80)])
    tokenizer.save_pretrained(tmp_path / "m")
    with pytest.raises(InvalidExperiment, match="the tokenizer has 81 tokens without an embedding"):
        open_engine(Model(str(tmp_path / "m")), progress=SilentProgress())
