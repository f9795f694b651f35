"""Which device and number format a model computes in on this machine.

Keeping libraries' own lines off the terminal while the harness shows its line.

What a process does once, before it loads its first model.

Tokenizer and weights of a declared model, ready to compute.

GGUF -> a safetensors folder, once: that takes some 20 s, loading the result 0.2 s.
"""

import atexit
import gc
import logging
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
import transformers
from filelock import FileLock
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GgufConfig
from transformers.utils import logging as transformers_logging

from harness.errors import InvalidExperiment, StageFailed
from harness.fingerprint import cache_folder
from harness.inference.models.prefix_tree import contiguous
from harness.types.chat_templates import dress
from harness.types.gguf_header import check_gguf_whole
from harness.types.model_files import ModelFiles, content_key, locate
from harness.types.models import Model
from harness.types.protocols import Progress

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}


def choose_device(requested: str) -> torch.device:
    """Return the device: "auto" is the first GPU if there is one, else the CPU."""
    if requested != "auto":
        return torch.device(requested)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_dtype(requested: str, device: torch.device) -> torch.dtype:
    """Return the dtype: "auto" is bfloat16 where `device` multiplies in it, else float32.

    On a CPU without avx512_bf16 or amx, bfloat16 is emulated and slower than float32.
    """
    if requested != "auto":
        return _DTYPES[requested]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and _cpu_multiplies_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell an allocation that failed from every other RuntimeError: on a CPU torch has no class for it."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "not enough memory" in text


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def describe_hardware(device: torch.device, dtype: torch.dtype) -> dict[str, str | int | float | bool | None]:
    """Return what a stage's environment column records about the computation."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "dtype": dtype_name(dtype),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _cpu_multiplies_bfloat16() -> bool:
    # Private, and the only place where torch answers this without parsing /proc/cpuinfo.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def no_bars() -> Iterator[None]:
    """Switch the progress bars of transformers off for a while."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def errors_only(name: str) -> Iterator[None]:
    """Let the logger `name` report errors only, for a while."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def unwarned(*messages: str) -> Iterator[None]:
    """Keep warnings that match one of `messages`, regular expressions, off the terminal for a while."""
    with warnings.catch_warnings():
        for message in messages:
            warnings.filterwarnings("ignore", message=message)
        yield


# What torch hands to MKL's vector library (aten/src/ATen/cpu/vml.h).
FUNCTIONS = (
    *("acos", "asin", "atan", "cos", "cosh", "erf", "erfc", "erfinv", "exp", "expm1", "lgamma"),
    *("log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh"),
)


@cache
def set_imports_apart() -> None:
    """Leave what is imported by now to itself: each collection of a freed network would walk it, which takes 0.3 s.

    Only before the first model: of what is set apart, cycles are freed at the end of the process alone, which libraries
    that count their objects then (duckdb's nanobind) insist on.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@cache
def steady() -> None:
    """Call each vector function once on one element, so that none is first called by two threads at a time.

    MKL picks a function's kernel at its first call. Where threads make that call together, one of them may compute its
    share with a kernel of half the accuracy (https://github.com/pytorch/pytorch/issues/188792): the first batch of a
    process then differs from every later one, by 1e-3 in a log-likelihood.
    """
    for dtype in (torch.float32, torch.float64):
        half = torch.full((1,), 0.5, dtype=dtype)
        for name in FUNCTIONS:
            getattr(torch, name)(half)


# Part of the cached folder's name: raise it when the conversion itself changes.
_FORMAT = 1


def converted_folder(files: ModelFiles, key: str, *, progress: Progress | None = None) -> Path:
    """Return the folder of float32 safetensors weights and tokenizer made from the GGUF file of `files`.

    Args:
        key: Content key of the file; a second call, also of another process, finds the folder made.

    Raises:
        InvalidExperiment: If the file is cut short.
        StageFailed: If it is no causal language model.
    """
    folder = cache_folder() / "models" / f"{key[:32]}-{_FORMAT}"
    if folder.is_dir():
        return folder
    check_gguf_whole(files.folder / str(files.gguf))
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


# What libraries raise of a folder that they cannot read.
UNREADABLE = (
    OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError, SafetensorError,
    StrictDataclassError,
)  # fmt: skip
_LONGEST = 300


def weights_folder(model: Model, *, progress: Progress | None = None) -> Path:
    """Return a folder that transformers loads: the model's own, or the one its GGUF file was converted to."""
    files = locate(model)
    if files.gguf is None:
        return files.folder
    return converted_folder(files, content_key(model), progress=progress)


def load_tokenizer(model: Model, *, progress: Progress | None = None) -> Any:
    """Return the tokenizer of `model`, padding on the left with a pad token that is set.

    Its chat template is the one of the whole run (`harness.types.chat_templates`): with the model's options, one fixed
    day for today, and a system message where the template itself knows none.

    Raises:
        InvalidExperiment: If the folder's tokenizer cannot be read, or its template reads no such option.
    """
    tokenizer = tokenizer_of(weights_folder(model, progress=progress), trust_remote_code=model.trust_remote_code)
    options, stored = model.template_options or {}, tokenizer.chat_template
    if not stored and options:
        raise InvalidExperiment(
            f"Model({model.name!r}, template_options=...): its tokenizer has no chat template that could read "
            f"{', '.join(options)}; leave template_options out"
        )
    if isinstance(stored, str):
        tokenizer.chat_template = dress(stored, options=options, system=model.system, name=model.name).text
    elif stored and "default" in stored:  # several by name
        text = dress(stored["default"], options=options, system=model.system, name=model.name).text
        tokenizer.chat_template = {**stored, "default": text}
    return tokenizer


def tokenizer_of(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Return the tokenizer stored in `folder`."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True, padding_side="left"
        )
    except UNREADABLE as error:
        raise InvalidExperiment(f"{folder}: the tokenizer cannot be loaded: {in_a_line(error)}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def load_model(
    model: Model,
    *,
    dtype: torch.dtype | None = None,
    quantize: Literal["nf4"] | None = None,
    progress: Progress | None = None,
) -> Any:
    """Return the causal language model in evaluation mode, on its device.

    Args:
        dtype: None is what `model.dtype` asks for.
        quantize: "nf4" stores the linear layers in 4 bits with double quantisation and computes in `dtype`.

    Raises:
        InvalidExperiment: If the folder cannot be read as a causal language model.
    """
    device = choose_device(model.device)
    chosen = dtype or choose_dtype(model.dtype, device)
    return model_of(
        weights_folder(model, progress=progress),
        device=device,
        dtype=chosen,
        quantize=quantize,
        trust_remote_code=model.trust_remote_code,
    )


def model_of(
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    quantize: Literal["nf4"] | None = None,
    trust_remote_code: bool = False,
) -> Any:
    """Return the causal language model stored in `folder`."""
    set_imports_apart()
    steady()
    quantization = None if quantize is None else nf4(dtype)
    try:
        # What it reports of weights that are missing or do not match is said here, in a line.
        with no_bars(), errors_only("bitsandbytes"), errors_only("transformers"):
            loaded, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                quantization_config=quantization,
                device_map={"": device} if quantization else None,
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except UNREADABLE as error:
        raise InvalidExperiment(f"{folder} cannot be loaded as a causal language model: {in_a_line(error)}") from error
    other = sorted(report["mismatched_keys"])
    if other:
        name, stored, wanted = other[0]
        raise InvalidExperiment(
            f"{folder}: {len(other)} of the stored tensors are of another size than config.json says, such as {name}, "
            f"{tuple(stored)} where {tuple(wanted)} is asked for; take the config.json that belongs to the weights"
        )
    if report["missing_keys"]:
        # transformers fills these with random numbers and only warns.
        raise InvalidExperiment(
            f"{folder}: the weights lack {len(report['missing_keys'])} tensors that config.json asks for, such as "
            f"{min(report['missing_keys'])}; save the model again with model.save_pretrained(folder)"
        )
    network = (loaded if quantization else loaded.to(device)).eval()
    network.get_output_embeddings().register_forward_pre_hook(contiguous)
    return network


def in_a_line(error: Exception) -> str:
    """Return what a library says of a fault, in one line that is no longer than a few."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


def keep_gradients(network: Any) -> None:
    """Keep 4-bit layers in the layout that has a gradient and whose numbers stay.

    On CPUs with avx512_bf16 their first forward in evaluation mode repacks the weights for a kernel that has none. Put
    back, as when an adapter is put on, they are no longer the same: each time all answers change a little.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):  # bitsandbytes' Linear4bit, which takes a second to import
            module.support_avx512bf16_for_cpu = False


def nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return the settings of NF4 with double quantisation, computed in `dtype`."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def side_by_side(rows: Sequence[Sequence[int]], pad: int, *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of `rows`, both (rows, longest), padded on one side."""
    width = max(1, *map(len, rows))
    ids, mask = [], []
    for row in rows:
        gap, seen = [pad] * (width - len(row)), [1] * len(row)
        ids.append([*gap, *row] if left else [*row, *gap])
        mask.append([*[0] * len(gap), *seen] if left else [*seen, *[0] * len(gap)])
    return torch.tensor(ids), torch.tensor(mask)
