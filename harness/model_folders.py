"""Whether a model's folder is whole: a file that is missing, cut short or a pointer is named with the way out."""

import json
import re
import struct
from collections.abc import Iterable
from pathlib import Path

from harness.errors import InvalidExperiment
from harness.git_lfs import is_lfs_pointer_file

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx")
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_READ = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.gguf", "*.bin")
_SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)\.safetensors")
_LONGEST_HEADER = 100 * 1024 * 1024
_SHOWN = 3
_CONVERTED = (
    'AutoModelForCausalLM.from_pretrained("{folder}").save_pretrained("{folder}"), where you trust it, writes them'
)


def check_folder(folder: Path) -> None:
    """Raise InvalidExperiment naming what `folder` lacks of a model: config, tokenizer, whole safetensors weights."""
    refuse_pointers(path for pattern in _READ for path in sorted(folder.glob(pattern)))
    if not (folder / "config.json").is_file():
        raise InvalidExperiment(f"{folder} has no config.json; {_without_config(folder)}")
    _json(folder / "config.json")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise InvalidExperiment(
            f"{folder} has no tokenizer (tokenizer.json or tokenizer.model); "
            "save it there with tokenizer.save_pretrained(folder), or copy it from the model it was tuned from"
        )
    for path in _weights(folder):
        check_whole(path)


def refuse_pointers(paths: Iterable[Path]) -> None:
    """Raise InvalidExperiment where files are Git LFS pointers in place of what they stand for."""
    pointers = [path for path in paths if is_lfs_pointer_file(path)]
    if pointers:
        raise InvalidExperiment(
            f"{pointers[0].parent}: {_listed([path.name for path in pointers])} {_are(pointers)}, not "
            "what it stands for; run git lfs pull in that repository, or download it again"
        )


def check_whole(path: Path) -> None:
    """Raise InvalidExperiment where the safetensors file at `path` is cut short or none at all. No weight is read."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(size, _LONGEST_HEADER):
                raise ValueError("the header is longer than the file")
            header = json.loads(stream.read(length))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise InvalidExperiment(
            f"{path} is no whole safetensors file ({size:,} bytes): its header cannot be read; "
            "copy or download it again"
        ) from error
    needed = 8 + length + max(ends, default=0)
    if size < needed:
        raise InvalidExperiment(
            f"{path} is cut short: {size:,} bytes of {needed:,} are there; copy or download it again"
        )


def _without_config(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return (
            "it holds an adapter, no model of its own: merge it into its base with "
            "PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(folder), and give that folder"
        )
    ggufs = sorted(path.name for path in folder.glob("*.gguf"))
    if ggufs:
        return f"it holds several GGUF files: name one, such as {folder / ggufs[0]}"
    return f"save the model there with model.save_pretrained({folder})"


def _weights(folder: Path) -> list[Path]:
    """Return the files that hold the weights, in order."""
    if (folder / _INDEX).is_file():
        told = _json(folder / _INDEX).get("weight_map")
        if not isinstance(told, dict) or not told:
            raise InvalidExperiment(f"{folder / _INDEX} maps no weights to files; copy or download it again")
        shards = sorted({str(name) for name in told.values()})
        missing = [name for name in shards if not (folder / name).is_file()]
        if missing:
            raise InvalidExperiment(
                f"{folder} lacks {_listed(missing)}, named in {_INDEX}; copy or download {_them(missing)} again"
            )
        return [folder / name for name in shards]
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    raise InvalidExperiment(f"{folder} {_without_weights(folder)}")


def _without_weights(folder: Path) -> str:
    stored = sorted(path.name for path in folder.glob("*.safetensors"))
    shards = [found for name in stored if (found := _SHARD.fullmatch(name)) is not None]
    if shards and int(shards[0][3]) == 1:
        return f"has its weights in {shards[0][0]} and no {_INDEX}; rename that file to {_WEIGHTS}"
    if shards:
        return (
            f"has {len(shards)} of {int(shards[0][3])} parts of its weights ({_listed([one[0] for one in shards])}) "
            f"and no {_INDEX}, which says what is in which: copy or download it as well, or save the model again with "
            "model.save_pretrained(folder)"
        )
    if stored:
        return (
            f"has {_listed(stored)}, and neither {_WEIGHTS} nor {_INDEX}: save the model again with "
            "model.save_pretrained(folder)"
        )
    others = sorted(path.name for pattern in _OTHER_WEIGHTS for path in folder.glob(pattern))
    if others:
        how = _CONVERTED.format(folder=folder)
        return f"has only {', '.join(others)}, whose loading can run code; safetensors files are needed: {how}"
    return "has no weights; safetensors files are needed: save the model there with model.save_pretrained(folder)"


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidExperiment(f"{path} cannot be read as JSON: {error}; copy or download it again") from error
    if not isinstance(found, dict):
        raise InvalidExperiment(f"{path} holds no JSON object; copy or download it again")
    return found


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _are(several: list[Path]) -> str:
    return "are Git LFS pointers" if len(several) > 1 else "is a Git LFS pointer"


def _them(several: list[str]) -> str:
    return "them" if len(several) > 1 else "it"
