"""Which device and number format a model computes in on this machine.

Keeping libraries' own lines off the terminal while the harness shows its line.

What a process does once, before it loads its first model.
"""

import atexit
import gc
import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
import transformers
from transformers.utils import logging as transformers_logging

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}


def choose_device(requested: str) -> torch.device:
    """Return the device: "auto" is the first GPU where there is one, else the CPU."""
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
