"""The header of a GGUF file: its settings and the sizes of its tensors, without reading a weight.

Written out here because the gguf package parses the whole vocabulary into Python objects, which takes seconds.
Source: the GGUF specification, version 3.
"""

import math
import struct
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from harness.errors import InvalidExperiment

_NUMBERS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_TEXT, _ARRAY = 8, 9
_MAGIC = b"GGUF"
_ALIGNMENT = 32
# Number format -> (weights, bytes) of a block; of any other a tensor has a byte at least.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 30: (1, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one file.

    Attributes:
        settings: Key -> value; a list's value is its length.
        tensors: Name -> number of weights.
        bytes: Of the file.
    """

    settings: dict[str, Any]
    tensors: dict[str, int]
    bytes: int


def read_header(path: Path) -> Header:
    """Return the header of the GGUF file at `path`.

    Raises:
        InvalidExperiment: If it is none, or ends too soon.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(4) != _MAGIC:
                raise InvalidExperiment(f"{path} is no GGUF file: it does not begin with {_MAGIC.decode()}")
            _, tensors, settings = struct.unpack("<IQQ", stream.read(20))
            found = {_text(stream): _value(stream, _number(stream, "<I")) for _ in range(settings)}
            listed = [_tensor(stream) for _ in range(tensors)]
            step = int(found.get("general.alignment", _ALIGNMENT))
            start = -(-stream.tell() // step) * step
            ends = [start + place + size for _, _, place, size in listed]
            return Header(found, {name: weights for name, weights, _, _ in listed}, max(ends, default=start))
    except (struct.error, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise InvalidExperiment(f"{path}: its GGUF header cannot be read ({error}); download it again") from error


def config_of(header: Header) -> dict[str, Any]:
    """Return the header's settings under the names that a config.json has."""
    settings = header.settings
    kind = str(settings.get("general.architecture", "llama"))

    def of(name: str) -> Any:
        return settings.get(f"{kind}.{name}")

    found = {
        "model_type": kind,
        "num_hidden_layers": of("block_count"),
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "head_dim": of("attention.key_length"),
        "max_position_embeddings": of("context_length"),
        "vocab_size": of("vocab_size") or settings.get("tokenizer.ggml.tokens"),
        "tie_word_embeddings": "output.weight" not in header.tensors,
    }
    return {name: value for name, value in found.items() if value is not None}


def parameters_of(header: Header) -> int:
    """Return how many weights the file holds; tables of rotary frequencies are no weights."""
    return sum(size for name, size in header.tensors.items() if not name.startswith("rope_"))


def check_gguf_whole(path: Path) -> None:
    """Raise InvalidExperiment if the GGUF file at `path` is none, or is cut short."""
    needed, size = read_header(path).bytes, path.stat().st_size
    if size < needed:
        raise InvalidExperiment(f"{path} is cut short: {size:,} bytes of {needed:,} are there; download it again")


def _tensor(stream: BufferedReader) -> tuple[str, int, int, int]:
    """Return (name, number of weights, place among the weights, bytes)."""
    name = _text(stream)
    dimensions = _number(stream, "<I")
    weights = math.prod(struct.unpack(f"<{dimensions}Q", stream.read(8 * dimensions)))
    form, place = _number(stream, "<I"), _number(stream, "<Q")
    block, size = _BLOCKS.get(form, (max(1, weights), 1))
    return name, weights, place, weights // block * size


def _value(stream: BufferedReader, kind: int) -> Any:
    if kind == _TEXT:
        return _text(stream)
    if kind != _ARRAY:
        return _number(stream, _NUMBERS[kind])
    kind, length = _number(stream, "<I"), _number(stream, "<Q")
    if kind == _TEXT:
        for _ in range(length):
            stream.seek(_number(stream, "<Q"), 1)
    elif kind in _NUMBERS:
        stream.seek(length * struct.calcsize(_NUMBERS[kind]), 1)
    else:
        raise KeyError(f"a list of type {kind}")
    return length


def _text(stream: BufferedReader) -> str:
    return stream.read(_number(stream, "<Q")).decode()


def _number(stream: BufferedReader, form: str) -> Any:
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]
