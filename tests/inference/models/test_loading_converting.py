"""A GGUF file becomes a safetensors folder, once."""

import json
import threading
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.models import loading
from harness.inference.models.loading import converted_folder, load_model, load_tokenizer
from harness.types.gguf_header import check_gguf_whole
from harness.types.model_files import content_key, locate
from harness.types.models import Model


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tiny_gguf(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model written as a float32 GGUF file."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer, model.config, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    for name, weights in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = weights.float().numpy()
        for part, heads in (("q_proj", 4), ("k_proj", 2)):
            if part in name:  # the format keeps rotary halves interleaved
                values = values.reshape(heads, 2, 8, 64).swapaxes(1, 2).reshape(values.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter, config, tokenizer) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    core = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(core["vocab"], key=core["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in core["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def test_the_converted_model_computes_what_the_original_does(tiny_gguf: Path, tiny_model: Path, said) -> None:
    model, original = Model(str(tiny_gguf), dtype="float32"), Model(str(tiny_model), dtype="float32")
    tokenizer = load_tokenizer(model, progress=said)
    text = "<|im_start|>user\nTurn on the light 打开<|im_end|>"
    assert tokenizer(text)["input_ids"] == load_tokenizer(original)(text)["input_ids"]
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        assert torch.allclose(load_model(model)(ids).logits, load_model(original)(ids).logits, atol=1e-4)
    assert [line.split()[0] for line in said.lines] == ["converting", "converted"]


def test_two_at_once_convert_once(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    files, key = locate(Model(str(tiny_gguf))), content_key(Model(str(tiny_gguf)))
    write, written = loading._write, []
    monkeypatch.setattr(loading, "_write", lambda files, folder: (written.append(folder), write(files, folder)))
    threads = [threading.Thread(target=converted_folder, args=(files, key)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
    assert not list((own_cache / "models").glob("unfinished-*"))


def test_a_conversion_that_stops_half_way_leaves_nothing(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    def torn(files: object, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError("No space left on device")

    monkeypatch.setattr(loading, "_write", torn)
    with pytest.raises(StageFailed, match="could not be converted: No space left on device"):
        load_tokenizer(Model(str(tiny_gguf)))
    assert [path.suffix for path in (own_cache / "models").iterdir()] == [".lock"]


def test_a_file_that_is_no_gguf_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"not a model at all")
    with pytest.raises(InvalidExperiment, match=r"bad\.gguf is no GGUF file"):
        load_tokenizer(Model(str(tmp_path / "bad.gguf")))


@pytest.mark.parametrize("lost", [1, 1000, 90_000])
def test_a_file_that_is_cut_short_is_named(tiny_gguf: Path, tmp_path: Path, lost: int) -> None:
    whole = tiny_gguf.read_bytes()
    check_gguf_whole(tiny_gguf)
    (tmp_path / "torn.gguf").write_bytes(whole[:-lost])
    with pytest.raises(InvalidExperiment, match=r"torn\.gguf(:| is cut short: ).*download it again"):
        load_tokenizer(Model(str(tmp_path / "torn.gguf")))


def test_a_model_from_gguf_that_is_trained_in_full_saves_and_loads_as_any_other(
    tiny_gguf: Path, tmp_path: Path, said
) -> None:
    """transformers refuses to save a model that still carries its GGUF file's quantisation."""
    from harness.inference.models.loading import model_of
    from harness.recipes import SFT, Full
    from harness.training.sft import fit
    from harness.types.jobs import TuneJob
    from harness.types.samples import Example, Message

    model = Model(str(tiny_gguf), dtype="float32")
    train = tuple(Example(id=str(n), prompt=(Message("user", f"red {n}"),), answer="green") for n in range(8))
    recipe = SFT(adapter=Full(), epochs=1, learning_rate=1e-3)
    job = TuneJob(recipe=recipe, model=model, train=train, dev=train[:2], seed=1, folder=tmp_path / "run")

    result = fit(job, progress=said)

    assert "quantization_config" not in json.loads((result.folder / "config.json").read_text())
    assert {check.name: check.status for check in result.checks}["saved system answers as trained"] == "ok"
    assert (
        getattr(model_of(result.folder, device=torch.device("cpu"), dtype=torch.float32), "hf_quantizer", None) is None
    )
