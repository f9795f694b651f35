"""Retrieval by sentence vectors, which are kept on disk."""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.cache import cache_folder
from harness.prompting.encoder import Encoder, Vectors
from harness.protocols import FloatArray

# Sums of float32 products differ in the seventh digit between machines; without rounding, so would the order of equals.
_DIGITS = 6


@dataclass(frozen=True)
class Dense:
    """Cosine similarity of MiniLM vectors.

    vectors: shape (distinct texts, width), each of length 1. rows: shape (texts,), each text's row in `vectors`, so
    that equal texts score equally to the last bit.
    """

    encoder: Encoder
    vectors: Vectors
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Dense":
        """Encode `texts`, or read their vectors from the cache.

        One CPU core encodes 1,000 to 2,000 tokens a second: seconds for a few thousand short texts, but half an hour
        for a code book of 100,000, where "bm25" is the retriever to begin with.
        """
        encoder = Encoder.packaged()
        places = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = _cached_vectors(encoder, list(places), cache_folder() / "embeddings")
        return cls(encoder, vectors, np.array([places[text] for text in texts], dtype=np.intp))

    def scores(self, query: str) -> FloatArray:
        """Return the cosine of each text with the query, shape (texts,)."""
        cosines = self.vectors @ self.encoder.encode([query])[0]
        rounded: FloatArray = np.round(cosines.astype(np.float64), _DIGITS)
        return rounded[self.rows]


def _cached_vectors(encoder: Encoder, texts: list[str], folder: Path) -> Vectors:
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
    """Return the stored vectors, or None where the file is torn: then they are computed again."""
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
