"""Which device and number format a model computes in on this machine."""

import platform

import torch
import transformers

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


def describe(device: torch.device, dtype: torch.dtype) -> dict[str, str | int | float | bool | None]:
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
