"""Any metric of the evaluate library, declared; harness.engine.hf_metric computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment
from harness.metrics.content import content_key
from harness.protocols import Direction
from harness.samples import Check, Sample

# Above this share of letters that are dropped, what is left is another text.
MOST_LOST = 0.1


@dataclass(frozen=True)
class HFMetric:
    """Anything that `evaluate.load` loads: a hub name ("rouge"), a folder or a script.

    It is computed sample by sample, and the mean of these is what is compared. That is right for metrics that are
    means of samples (exact match, ROUGE, BERTScore); a metric of the whole set (F1, BLEU, correlation) of one
    sample means something else or nothing.

    source: hub name, folder or .py file. A hub metric is code that runs here: name a `revision` you have read.
    key: which entry of the result is the score; None takes the only one.
    inputs: "text" gives the metric the answer's and the reference's text, "value" what the task read.
    references: "one" gives it each reference as it is, "list" inside a list, as BLEU wants it.
    options: further arguments of `compute`. unreadable: the score of an answer without a value (inputs="value").
    """

    source: str
    key: str | None = None
    better: Direction = "higher"
    references: Literal["one", "list"] = "one"
    inputs: Literal["text", "value"] = "text"
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    config: str | None = None
    revision: str | None = None
    unreadable: float = 0.0

    executor: ClassVar[str] = "harness.engine.hf_metric:score_all"

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise InvalidExperiment('HFMetric("") names nothing; give a hub name, a folder or a .py file')
        if self.better not in ("higher", "lower"):
            raise InvalidExperiment(f'{self}: better is "higher" or "lower"')
        if self.references not in ("one", "list") or self.inputs not in ("text", "value"):
            raise InvalidExperiment(f'{self}: references is "one" or "list", inputs is "text" or "value"')

    @property
    def name(self) -> str:
        """The last part of the source, without its ending: "metrics/word_overlap.py" is word_overlap."""
        return PurePath(self.source.rstrip("/")).name.removesuffix(".py")

    def check_references(self, samples: Sequence[Sample]) -> Check | None:
        """Return that ROUGE of this library cannot read the references: it keeps a to z and digits only."""
        if self.name != "rouge" or "tokenizer" in self.options:
            return None
        letters = [letter for sample in samples for letter in sample.reference if letter.isalpha()]
        lost = sum(not letter.isascii() for letter in letters)
        if lost <= MOST_LOST * len(letters):
            return None
        detail = (
            f"HFMetric({self.source!r}) drops every letter but a to z, {lost / len(letters):.0%} of those in the "
            "references, so that equal answers would score 0; use Rouge() or Chrf(), which read every script"
        )
        return Check(name="references of rouge", status="invalid", detail=detail, kind="data")

    @property
    def content_key(self) -> str:
        """What stored scores depend on besides the declaration: the metric's script and the library's version."""
        return content_key(self.source, packages=("evaluate",))
