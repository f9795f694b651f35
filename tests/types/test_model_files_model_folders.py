"""What a model's folder may lack, each with its way out in a line."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InvalidExperiment
from harness.types.model_files import locate
from harness.types.models import Model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 134515008\n"


def weights(tensors: dict[str, int] = {"a": 4}) -> bytes:  # noqa: B006 - only read
    """Return a safetensors file of tensors of so many bytes."""
    header, start = {}, 0
    for name, size in tensors.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [start, start + size]}
        start += size
    told = json.dumps(header).encode()
    return struct.pack("<Q", len(told)) + told + bytes(start)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "m"
    made.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (made / name).write_text("{}")
    (made / "model.safetensors").write_bytes(weights())
    return made


def refused(folder: Path) -> str:
    """Return the one line with which the folder is refused."""
    with pytest.raises(InvalidExperiment) as error:
        locate(Model(str(folder)))
    (line,) = str(error.value).splitlines()
    return line.replace(str(folder), "m")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_named_with_the_command(folder: Path, name: str) -> None:
    (folder / name).write_text(POINTER)
    assert refused(folder) == (
        f"m: {name} is a Git LFS pointer, not what it stands for; run git lfs pull in that repository, or download it "
        "again"
    )


def test_several_pointers_are_counted(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for number in range(1, 6):
        (folder / f"model-0000{number}-of-00005.safetensors").write_text(POINTER)
    assert "model-00003-of-00005.safetensors and 2 more are Git LFS pointers" in refused(folder)


def test_a_gguf_pointer_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text(POINTER)
    assert "x.gguf is a Git LFS pointer" in refused(tmp_path / "x.gguf")
    assert "x.gguf is a Git LFS pointer" in refused(tmp_path)


def without_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for number in (1, 2):
        (folder / f"model-0000{number}-of-00003.safetensors").write_bytes(weights())


def one_part(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")


def index(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)


def adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def ggufs(folder: Path) -> None:
    (folder / "config.json").unlink()
    for name in ("b-q8.gguf", "a-q4.gguf"):
        (folder / name).write_bytes(b"GGUF")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (without_index, "m has 2 of 3 parts of its weights (model-00001-of-00003.safetensors, "),
        (
            without_index,
            "and no model.safetensors.index.json, which says what is in which: copy or download it as well",
        ),
        (one_part, "rename that file to model.safetensors"),
        (
            lambda m: (m / "model.safetensors").rename(m / "consolidated.safetensors"),
            "m has consolidated.safetensors, and",
        ),
        (lambda m: index(m, "{"), "m/model.safetensors.index.json cannot be read as JSON"),
        (lambda m: index(m, '{"weight_map": {}}'), "maps no weights to files"),
        (lambda m: index(m, '{"weight_map": {"a": "x.safetensors"}}'), "m lacks x.safetensors, named in"),
        (lambda m: (m / "config.json").write_text("{'a': 1}"), "m/config.json cannot be read as JSON"),
        (lambda m: (m / "config.json").write_text("[]"), "m/config.json holds no JSON object"),
        (lambda m: (m / "config.json").unlink(), "m has no config.json; save the model there"),
        (adapter, "it holds an adapter, no model of its own: merge it into its base"),
        (ggufs, "it holds several GGUF files: name one, such as m/a-q4.gguf"),
        (lambda m: (m / "tokenizer.json").unlink(), "m has no tokenizer"),
        (lambda m: (m / "model.safetensors").write_bytes(b""), "is no whole safetensors file (0 bytes)"),
        (lambda m: (m / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(90)), "is no whole safetensors file"),
        (lambda m: (m / "model.safetensors").write_bytes(weights()[:-1]), "is cut short: "),
        (lambda m: (m / "model.safetensors").rename(m / "pytorch_model.bin"), "m has only pytorch_model.bin"),
        (
            lambda m: (m / "model.safetensors").rename(m / "pytorch_model.bin"),
            '("m").save_pretrained("m"), where you trust it, writes them',
        ),
    ],
)
def test_what_is_missing_is_named_in_a_line(folder: Path, harm: Callable[[Path], object], said: str) -> None:
    harm(folder)
    assert said in refused(folder)


def test_a_whole_folder_of_parts_is_taken(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    index(folder, '{"weight_map": {"a": "part.safetensors"}}')
    assert locate(Model(str(folder))).folder == folder


def test_a_file_is_no_model(folder: Path) -> None:
    assert "is a file; give its folder" in refused(folder / "model.safetensors")
