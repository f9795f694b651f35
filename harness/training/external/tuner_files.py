"""What another tuner is handed: settings, rows and a model folder that its versions read."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.recipes import SFT
from harness.training.rows import Collated, TokenizedRow

Config = dict[str, object]
_COPIED = ("*.jinja", "*.json", "*.model", "*.txt")


@dataclass(frozen=True, slots=True)
class TunerJob:
    """One training by another tuner. folder: all of its files. model: a folder of weights, config and tokenizer.

    Args:
        steps: Updates of the whole run.
        every: Of them, between evaluations.
        longest: Tokens of the longest row.
        half: Products are bfloat16.
        cpu: No accelerator is used.
    """

    recipe: SFT
    folder: Path
    model: Path
    seed: int
    steps: int
    every: int
    longest: int
    evaluates: bool
    half: bool
    cpu: bool

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def train(self) -> Path:
        return self.folder / "train.jsonl"

    @property
    def dev(self) -> Path:
        return self.folder / "dev.jsonl"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A tuner's files as written. arguments: after its command. log: file of its progress, None is its output.

    Args:
        unmapped: What the recipe asks for and the tuner does not do.
        read: What it will be trained on, read back from its own files.
    """

    arguments: tuple[str, ...]
    settings: Path
    unmapped: tuple[str, ...]
    read: Callable[[], Sequence[Collated]]
    log: Path | None = None


def write_model(source: Path, folder: Path) -> None:
    """Make `folder` a model that older versions of transformers read: weights by link, settings rewritten.

    transformers 4 takes no notice of `rope_parameters` and computes with a rope_theta of 10,000 without a word, and
    knows no tokenizer class of transformers 5.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.safetensors")):
        (folder / path.name).symlink_to(path.resolve())
    for pattern in _COPIED:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    _rewrite(folder / "config.json", _older_config)
    _rewrite(folder / "tokenizer_config.json", _older_tokenizer)


def write_rows(path: Path, rows: Sequence[TokenizedRow]) -> None:
    """Write rows as JSON lines of token ids: what the tuner trains on is what is served, token by token."""
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            features = row.features()
            stream.write(json.dumps({**features, "attention_mask": [1] * row.tokens}) + "\n")


def read_tuner_rows(path: Path) -> list[Collated]:
    """Return the rows of a file that `write_rows` wrote."""
    with path.open(encoding="utf-8") as stream:
        return [Collated(tuple(row["input_ids"]), tuple(row["labels"])) for row in map(json.loads, stream)]


def _rewrite(path: Path, change: Callable[[Config], Config]) -> None:
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(change(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _older_config(config: Config) -> Config:
    rope: Any = config.get("rope_parameters")
    older: Config = {}
    if isinstance(rope, Mapping) and "rope_theta" in rope:
        older["rope_theta"] = rope["rope_theta"]
        if rope.get("rope_type", "default") != "default":
            older["rope_scaling"] = {key: value for key, value in rope.items() if key != "rope_theta"}
    if "dtype" in config:
        older["torch_dtype"] = config["dtype"]
    return {**older, **config}


def _older_tokenizer(config: Config) -> Config:
    if config.get("tokenizer_class") != "TokenizersBackend":
        return config
    return {**config, "tokenizer_class": "PreTrainedTokenizerFast"}
