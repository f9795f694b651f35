"""The most memory that a training held, one training of a process at a time."""

import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): sets the peak resident set back to the present one


def restart(device: torch.device) -> None:
    """Let the peak begin at what is held now. Where a system knows no such thing, it stays that of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    _give_back()
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return


def _give_back() -> None:
    """Return freed memory to the system, as far as its library does: a training is not to be charged for the last."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc's alone
    except (AttributeError, OSError):
        return


def peak_memory(device: torch.device) -> int:
    """Return the most bytes held since `restart`: the GPU's allocator's, on a CPU the resident set's."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.is_file():
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        kilobytes = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
        if kilobytes is not None:
            return 1024 * int(kilobytes)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
