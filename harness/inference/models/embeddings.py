"""Tokens that a tokenizer has and its model has no embedding for: a prompt that holds one ends in an IndexError."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import InvalidExperiment
from harness.inference.models.loading import weights_folder
from harness.types.models import Model

_SHOWN = 3
# A few stand there unused in published models, for what else a tokenizer serves; more are another model's tokenizer.
_A_FEW = 64


@dataclass(frozen=True, slots=True)
class Unembedded:
    """The tokens without an embedding, id -> text, of a model with `rows` embeddings. name: of the tokenizer."""

    tokens: Mapping[int, str]
    rows: int
    name: str

    @property
    def sentence(self) -> str:
        """Say which they are, how many rows the model has, and the way out."""
        shown = ", ".join(f"{text!r} ({token})" for token, text in list(self.tokens.items())[:_SHOWN])
        more = f" and {len(self.tokens) - _SHOWN} more" if len(self.tokens) > _SHOWN else ""
        return (
            f"{self.name}: the tokenizer has {len(self.tokens)} tokens without an embedding: {shown}{more}, where the "
            f"model has {self.rows:,} rows, for tokens 0 to {self.rows - 1:,}; load both, call "
            "model.resize_token_embeddings(len(tokenizer)) and save both again, or take the tokens out of the tokenizer"
        )

    def used_in(self, text: str) -> str | None:
        """Return the first of the tokens that stands in `text`, None if none does."""
        return next((token for token in self.tokens.values() if token in text), None)


def unembedded(rows: int, tokenizer: Any) -> Unembedded | None:
    """Return the tokens without an embedding, None if every token has one.

    Raises:
        InvalidExperiment: If they are many, or one of them begins, ends or fills up a prompt.
    """
    missing = sorted((token, text) for text, token in tokenizer.get_vocab().items() if token >= rows)
    if not missing:
        return None
    found = Unembedded(dict(missing), rows, str(tokenizer.name_or_path))
    needed = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    if len(missing) > _A_FEW or not needed.isdisjoint(found.tokens):
        raise InvalidExperiment(found.sentence)
    return found


def unembedded_by_config(model: Model, tokenizer: Any) -> Unembedded | None:
    """Return what `unembedded` does, by what config.json says; None if it does not say it.

    Raises what `unembedded` raises.
    """
    try:
        config = json.loads((weights_folder(model) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    told = config.get("text_config") or config
    rows = told.get("vocab_size", config.get("vocab_size")) if isinstance(told, dict) else None
    return unembedded(rows, tokenizer) if isinstance(rows, int) and rows > 0 else None
