"""GGUF -> a safetensors folder, once: that takes some 20 s, loading the result 0.2 s."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from filelock import FileLock
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from harness.cache import cache_folder
from harness.errors import StageFailed
from harness.gguf_header import check_whole
from harness.model_files import ModelFiles
from harness.protocols import Progress
from harness.weights.bars import no_bars

# Part of the cached folder's name: raise it when the conversion itself changes.
_FORMAT = 1


def converted_folder(files: ModelFiles, key: str, *, progress: Progress | None = None) -> Path:
    """Return the folder of float32 safetensors weights and tokenizer made from the GGUF file of `files`.

    key: content key of the file; a second call, also of another process, finds the folder made.

    Raises InvalidExperiment where the file is cut short, StageFailed where it is no causal language model.
    """
    folder = cache_folder() / "models" / f"{key[:32]}-{_FORMAT}"
    if folder.is_dir():
        return folder
    check_whole(files.folder / str(files.gguf))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            _convert(files, folder, progress)
    return folder


def _convert(files: ModelFiles, folder: Path, progress: Progress | None) -> None:
    if progress is not None:
        progress.say(f"converting {files.gguf} to safetensors, once (about 15 s a 100 MB)")
    # Renamed only when whole: a killed conversion leaves nothing that looks finished.
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    try:
        with no_bars(), _read_once():
            _write(files, unfinished)
        os.replace(unfinished, folder)
    except (OSError, ValueError, RuntimeError, KeyError, NotImplementedError, ImportError) as error:
        raise StageFailed(
            f"{files.folder / str(files.gguf)} could not be converted: {' '.join(str(error).split())}"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if progress is not None:
        progress.say(f"converted to {folder}")


def _write(files: ModelFiles, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(files.folder, gguf_file=files.gguf)
    # Without dequantize=True the quantiser stays attached and the model refuses to be saved or trained.
    model = AutoModelForCausalLM.from_pretrained(
        files.folder, gguf_file=files.gguf, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class _Reader(gguf.GGUFReader):  # type: ignore[misc]
    """A reader of plain arrays: each of the 700,000 slices of a memmap costs 20 microseconds, of an array 1."""

    @property
    def data(self) -> Any:
        return self._data

    @data.setter
    def data(self, mapped: Any) -> None:
        self._data = np.asarray(mapped)


@contextmanager
def _read_once() -> Iterator[None]:
    """Parse the file and the table of tensor names once: transformers asks 3 and 397 times, 10 s and 28 ms each."""
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(_Reader), cache(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = before
