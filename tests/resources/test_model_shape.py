"""Weights counted from a config: the published models' own numbers."""

import json
import struct
from pathlib import Path

import pytest

from harness.errors import InvalidExperiment
from harness.resources.model_shape import read_shape, shape_of
from harness.types.gguf_header import config_of, parameters_of, read_header
from harness.types.models import Model

LLAMA_3B = {
    "model_type": "llama", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
    "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256,
    "tie_word_embeddings": True,
}  # fmt: skip
LLAMA_2_7B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip
BERT = {
    "model_type": "bert", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "vocab_size": 28996, "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "vocab_size": 50257, "n_positions": 1024}
QWEN = {
    "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip
QWEN_3 = {
    "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "tie_word_embeddings": True, "attention_bias": False,
}  # fmt: skip
SMOLLM = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LLAMA_3B, 3_212_749_824),
        (LLAMA_2_7B, 6_738_415_616),
        (GPT2, 124_439_808),
        (QWEN, 494_032_768),
        (QWEN_3, 596_049_920),
        (SMOLLM, 134_515_008),
        ({"text_config": SMOLLM, "model_type": "picture"}, 134_515_008),
    ],
)
def test_the_parameters_are_those_of_the_published_models(config: dict[str, object], parameters: int) -> None:
    assert shape_of(config).parameters == parameters


def test_an_encoder_in_float32_takes_what_its_file_takes() -> None:
    # bert-base-cased, 413.17 MiB.
    assert shape_of(BERT).parameters * 4 / 2**20 == pytest.approx(413.17, abs=0.005)


def test_keys_and_values_of_a_long_text_take_two_gibibytes() -> None:
    assert shape_of(LLAMA_2_7B).kv_cache_bytes(4096) == 2 * 2**30


def test_the_files_own_count_wins_over_the_closed_form() -> None:
    shape = shape_of(SMOLLM, exact=7)
    assert (shape.parameters, shape.closed_form) == (7, 134_515_008)


def test_a_config_that_says_too_little_names_the_field() -> None:
    with pytest.raises(InvalidExperiment, match=r"the config of a llama model says num_hidden_layers=None"):
        shape_of({key: value for key, value in SMOLLM.items() if key != "num_hidden_layers"})


def test_a_folder_is_read_from_its_config_and_the_headers_of_its_weights(tiny_model: Path) -> None:
    shape = read_shape(Model(str(tiny_model)))

    assert shape.exact == shape.closed_form
    assert (shape.layers, shape.hidden, shape.kv_width, shape.context) == (2, 64, 32, 512)


def test_a_config_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3B))
    assert read_shape(Model(str(tmp_path / "config.json"))).parameters == 3_212_749_824

    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InvalidExperiment, match="holds no JSON object"):
        read_shape(Model(str(tmp_path / "config.json")))


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(path: Path, settings: dict[str, int], tensors: dict[str, tuple[int, ...]]) -> Path:
    """Write a GGUF file of headers alone, with a list of texts among its settings."""
    body = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    body += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("ß") + text("")
    body += text("scores") + struct.pack("<IIQ", 9, 6, 2) + struct.pack("<ff", 1.0, 2.0)
    for name, value in settings.items():
        body += text(name) + struct.pack("<II", 4, value)
    for name, dimensions in tensors.items():
        body += text(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        body += struct.pack("<IQ", 0, 0)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 3 + len(settings)) + body)
    return path


def test_a_gguf_header_is_read_without_its_vocabulary(tmp_path: Path) -> None:
    path = gguf(
        tmp_path / "m.gguf",
        {"llama.block_count": 2, "llama.embedding_length": 64, "llama.attention.head_count": 4},
        {"token_embd.weight": (64, 3), "blk.0.ffn_up.weight": (64, 128), "rope_freqs.weight": (8,)},
    )
    header = read_header(path)

    assert header.settings["tokenizer.ggml.tokens"] == 3
    assert parameters_of(header) == 64 * 3 + 64 * 128
    assert config_of(header) == {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "vocab_size": 3,
        "tie_word_embeddings": True,
    }


@pytest.mark.parametrize("damage", [b"GGML", b"GGUF" + b"\x03", b"GGUF" + struct.pack("<IQQ", 3, 1, 9)])
def test_a_file_that_is_none_or_ends_too_soon_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(damage)
    with pytest.raises(InvalidExperiment, match=r"m\.gguf"):
        read_header(tmp_path / "m.gguf")
