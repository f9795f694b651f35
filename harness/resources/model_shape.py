"""The sizes of a transformer, as its config declares them, and how many weights that makes.

A model's shape from its files: config.json and the headers of its weights, or the header of a GGUF file.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InvalidExperiment
from harness.types.gguf_header import config_of, parameters_of, read_header
from harness.types.model_files import locate
from harness.types.models import Model


@dataclass(frozen=True, slots=True)
class Linear:
    """One linear layer of a block: reads `width_in` numbers, writes `width_out`."""

    name: str
    width_in: int
    width_out: int
    bias: bool = False

    @property
    def weights(self) -> int:
        return self.width_in * self.width_out


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What memory depends on.

    hidden: width of the states. heads, kv_heads, head_dim: of attention. intermediate: width of the feed-forward
    network. linears: of one block. norms: normalised widths of one block, summed. final_norm: after the last block.
    norm_bias: norms have a bias beside their weight. extra: parameters outside the blocks besides embeddings, head and
    final norm. exact: the number of parameters that the files themselves have, None where only a config was read.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    context: int | None
    linears: tuple[Linear, ...]
    norms: int
    final_norm: int
    norm_bias: bool = False
    extra: int = 0
    exact: int | None = None

    @property
    def parameters(self) -> int:
        """All weights; a head that shares the embeddings' counts once."""
        return self.exact if self.exact is not None else self.closed_form

    @property
    def closed_form(self) -> int:
        """The number of weights that the sizes alone make."""
        a_block = sum(linear.weights + (linear.width_out if linear.bias else 0) for linear in self.linears)
        norms = (self.layers * self.norms + self.final_norm) * (2 if self.norm_bias else 1)
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * a_block + norms + embeddings + self.extra

    @property
    def linear_weights(self) -> int:
        """Weights of the linear layers in the blocks: what QLoRA stores in 4 bits."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def gated(self) -> bool:
        """Whether the feed-forward network has a gate beside its first projection."""
        return any("gate" in linear.name for linear in self.linears)

    def kv_cache_bytes(self, tokens: int, *, width: int = 2) -> int:
        """Return the bytes of keys and values of `tokens` tokens; width: bytes of a number."""
        return 2 * self.layers * self.kv_width * tokens * width


def shape_of(config: Mapping[str, Any], *, exact: int | None = None) -> ModelShape:
    """Return the shape that a config.json declares.

    exact: the number of parameters where it is known. Decoders with a gated feed-forward network, as Llama, Mistral,
    Qwen, Gemma, SmolLM and Phi have them, GPT-2 and BERT are counted exactly; any other as a gated decoder.

    Raises InvalidExperiment naming the field that is missing.
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

    Raises InvalidExperiment where its files are not found or say too little.
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
    """Return the number of weights in the safetensors headers, None where they cannot be read or are packed."""
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
