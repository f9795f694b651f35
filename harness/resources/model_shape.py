"""The sizes of a transformer, as its config declares them, and how many weights that makes.

A model's shape from its files: config.json and the headers of its weights, or the header of a GGUF file.
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InvalidExperiment
from harness.types.gguf_header import config_of, parameters_of, read_header
from harness.types.model_files import locate
from harness.types.models import Model
from harness.types.shapes import Linear, ModelShape


def shape_of(config: Mapping[str, Any], *, exact: int | None = None) -> ModelShape:
    """Return the shape that a config.json declares.

    Args:
        exact: The number of parameters if it is known. Decoders with a gated feed-forward network, as Llama,
            Mistral, Qwen, Gemma, SmolLM and Phi have them, GPT-2 and BERT are counted exactly; any other as a gated
            decoder.

    Raises:
        InvalidExperiment: Names the field that is missing.
    """
    text = config.get("text_config")
    found = {**config, **text} if isinstance(text, Mapping) else dict(config)
    kind = str(found.get("model_type", ""))
    if kind == "gpt2":
        return _gpt2(found, exact)
    if kind in ("bert", "roberta"):
        return _bert(found, exact)
    return _gated(found, exact, kind)


def _gated(config: Mapping[str, Any], exact: int | None, kind: str) -> ModelShape:
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    kv_heads = int(config.get("num_key_value_heads") or heads)
    width = int(config.get("head_dim") or hidden // heads)
    inner = _number(config, "intermediate_size")
    queries, keys = heads * width, kv_heads * width
    biased = bool(config.get("attention_bias", kind == "qwen2"))
    out_biased = biased and kind not in ("qwen2", "qwen2_moe")
    wide = bool(config.get("mlp_bias", False))
    of_heads = 2 * width if kind in ("qwen3", "gemma3_text", "gemma3", "olmo2") else 0
    return ModelShape(
        layers=_number(config, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=width,
        intermediate=inner,
        vocabulary=_number(config, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", kind.startswith("gemma"))),
        context=_context(config),
        linears=(
            Linear("q_proj", hidden, queries, biased),
            Linear("k_proj", hidden, keys, biased),
            Linear("v_proj", hidden, keys, biased),
            Linear("o_proj", queries, hidden, out_biased),
            Linear("gate_proj", hidden, inner, wide),
            Linear("up_proj", hidden, inner, wide),
            Linear("down_proj", inner, hidden, wide),
        ),
        norms=(4 if kind.startswith(("gemma2", "gemma3")) else 2) * hidden + of_heads,
        final_norm=hidden,
        exact=exact,
    )


def _gpt2(config: Mapping[str, Any], exact: int | None) -> ModelShape:
    hidden, heads = _number(config, "n_embd"), _number(config, "n_head")
    inner = int(config.get("n_inner") or 4 * hidden)
    positions = int(config.get("n_positions") or 1024)
    return ModelShape(
        layers=_number(config, "n_layer"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        intermediate=inner,
        vocabulary=_number(config, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", True)),
        context=positions,
        linears=(
            Linear("c_attn", hidden, 3 * hidden, bias=True),
            Linear("c_proj", hidden, hidden, bias=True),
            Linear("c_fc", hidden, inner, bias=True),
            Linear("c_proj", inner, hidden, bias=True),
        ),
        norms=2 * hidden,
        final_norm=hidden,
        norm_bias=True,
        extra=positions * hidden,
        exact=exact,
    )


def _bert(config: Mapping[str, Any], exact: int | None) -> ModelShape:
    """Return an encoder with its pooler and without a head, as the plain model is saved."""
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    inner, positions = _number(config, "intermediate_size"), _number(config, "max_position_embeddings")
    names = (("query", hidden, hidden), ("key", hidden, hidden), ("value", hidden, hidden), ("dense", hidden, hidden))
    return ModelShape(
        layers=_number(config, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        intermediate=inner,
        vocabulary=_number(config, "vocab_size"),
        tied=True,
        context=positions,
        linears=(
            *(Linear(name, read, written, bias=True) for name, read, written in names),
            Linear("intermediate.dense", hidden, inner, bias=True),
            Linear("output.dense", inner, hidden, bias=True),
        ),
        norms=2 * hidden,
        final_norm=hidden,  # that of the embeddings stands here; there is none at the end
        norm_bias=True,
        extra=(positions + int(config.get("type_vocab_size", 2))) * hidden + hidden * hidden + hidden,
        exact=exact,
    )


def _context(config: Mapping[str, Any]) -> int | None:
    found = config.get("max_position_embeddings")
    return None if found is None else int(found)


def _number(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidExperiment(
            f"the config of a {config.get('model_type', 'nameless')} model says {name}={value!r}, where a number of 1 "
            "or more is needed; its memory cannot be estimated"
        )
    return value


_LONGEST_HEADER = 100 * 1024 * 1024


def read_shape(model: Model) -> ModelShape:
    """Return the shape of `model`; no weight is read, nothing is converted.

    Raises:
        InvalidExperiment: If its files are not found or say too little.
    """
    source = Path(model.source).expanduser()
    if source.is_file() and source.name == "config.json":
        return shape_of(_config(source))  # sizes alone, of a model that is not here
    files = locate(model)
    if files.gguf is not None:
        header = read_header(files.folder / files.gguf)
        return shape_of(config_of(header), exact=parameters_of(header))
    return shape_of(_config(files.folder / "config.json"), exact=_stored_parameters(files.folder))


def _config(path: Path) -> dict[str, object]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidExperiment(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(read, dict):
        raise InvalidExperiment(f"{path} holds no JSON object; it is no config of a model")
    return read


def _stored_parameters(folder: Path) -> int | None:
    """Return the number of weights in the safetensors headers, None if they cannot be read or are packed."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(min(length, _LONGEST_HEADER)))
        except (OSError, ValueError, struct.error):
            return None
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        if any(entry["dtype"] in ("U8", "I8", "I32") for entry in tensors):
            return None  # quantised weights, several in one number
        total += sum(math.prod(entry["shape"]) for entry in tensors)
    return total or None
