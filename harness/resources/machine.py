"""What this machine has free, and in which number formats it trains. Asks the system, never torch."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.recipes.adapters import Adapter
from harness.resources.memory import Formats

GIB = 2**30
# Resident set of Python with torch, transformers, trl and peft, and of a GPU's context (docs/memory.md).
_LIBRARIES, _CONTEXT = round(0.95 * GIB), round(0.6 * GIB)
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_tile")
# Up to this many tokens a row a CPU trains with plain products, which hold the attention's scores.
_PLAIN = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A place to train.

    Args:
        kind: Where weights and activations are.
        free, total: Its memory in bytes.
        disk: Bytes free where results go, None if that is not asked.
        bfloat16: Matrix products are computed in it.
    """

    kind: Literal["cpu", "gpu"]
    name: str
    free: int
    total: int
    disk: int | None
    bfloat16: bool

    def formats(self, adapter: Adapter, *, length: int, quantize: str | None = None) -> Formats:
        """Return the number formats of a run: trained weights are float32, a frozen base in what is computed in.

        Args:
            quantize: "nf4" where the model answers in 4 bits.
        """
        width = 2.0 if self.bfloat16 else 4.0
        full = adapter.whole
        return Formats(
            base=4.0 if full else width,
            products=width,
            states=4.0 if full else width,
            scores=self.kind == "cpu" and length <= _PLAIN,
            runtime=_LIBRARIES if self.kind == "cpu" else _CONTEXT,
            served=width,
            served_in_4_bits=quantize is not None,
        )


def this_machine(folder: Path, *, device: str = "auto") -> Machine:
    """Return this machine; a GPU if there is one and `device` does not ask for the CPU. folder: of the results."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = shutil.disk_usage(folder).free
    found = _gpu() if device in ("auto", "cuda") or device.startswith("cuda:") else None
    if found is not None:
        name, free, total = found
        return Machine(kind="gpu", name=name, free=free, total=total, disk=disk, bfloat16=True)
    free, total = _memory()
    return Machine(kind="cpu", name="CPU", free=free, total=total, disk=disk, bfloat16=_multiplies_bfloat16())


def gpu_of(gib: float) -> Machine:
    """Return a GPU with `gib` GiB, all of them free: a machine to be asked about before it is rented."""
    size = round(gib * GIB)
    return Machine(kind="gpu", name=f"a GPU of {gib:g} GiB", free=size, total=size, disk=None, bfloat16=True)


def _gpu() -> tuple[str, int, int] | None:
    """Return (name, free, total) of the first NVIDIA GPU, None if there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    asked = [tool, "--query-gpu=name,memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, check=True, text=True, timeout=20)  # noqa: S603 - fixed words
        name, free, total = done.stdout.splitlines()[0].split(", ")
        return name, int(free) << 20, int(total) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _memory() -> tuple[int, int]:
    """Return (free, total) bytes: the machine's, or the control group's where that allows less.

    What this process holds counts as free: the run takes its place.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = _meminfo().get("MemAvailable", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    limit, used = _group_number("memory.max"), _group_number("memory.current")
    if limit is not None and limit < total:
        total = limit
        free = min(free, limit - (used or 0) + _group_cache())
    return min(total, free + _resident()), total


def _meminfo() -> dict[str, int]:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return {}
    return {name: int(size) << 10 for name, size in re.findall(r"^(.+):\s+(\d+) kB$", text, re.MULTILINE)}


def _group_number(name: str) -> int | None:
    try:
        said = Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(said) if said.isdecimal() else None


def _group_cache() -> int:
    """Return the bytes of file cache that the control group would give up."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _multiplies_bfloat16() -> bool:
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line.split() for line in said.splitlines() if line.startswith("flags")), [])
    return any(flag in flags for flag in _BFLOAT16_FLAGS)
