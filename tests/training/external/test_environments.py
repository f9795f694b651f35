"""`harness tuner install` with real pip, on packages that a test makes."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from harness.cli.__main__ import main
from harness.environments import TUNERS
from harness.errors import MissingPackage

pytestmark = pytest.mark.slow  # pip itself runs, and makes environments

_LLAMAFACTORY = TUNERS["llamafactory"]
_COMMAND = "def main():\n    import torchaudio\n    print(torchaudio.__doc__)\n"


def wheel(folder: Path, name: str, version: str, *, needs: tuple[str, ...] = (), **files: str) -> None:
    inside = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    content = {
        f"{inside}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{inside}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **files,
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
        archive.writestr(f"{inside}/RECORD", "".join(f"{path},,\n" for path in [*content, f"{inside}/RECORD"]))


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip may look into, on a machine without a GPU."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr("harness.environments._has_gpu", lambda: False)
    wheel(folder, "torch", "2.13.0")
    wheel(folder, "torchvision", "0.28.0", **{"torchvision.py": "raise OSError('no CUDA')\n"})
    wheel(folder, "torchaudio", "2.11.0", **{"torchaudio.py": "raise OSError('no CUDA')\n"})
    return folder


def test_llamafactory_is_installed_mended_and_found(wheels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = {
        "llamafactory-0.9.5.dist-info/entry_points.txt": "[console_scripts]\nllamafactory-cli = lf_stand_in:main\n"
    }
    # The constraints hold: peft 0.19 is there and not taken.
    wheel(wheels, "peft", "0.18.1")
    wheel(wheels, "peft", "0.19.0")
    needs = ("torch", "torchvision", "torchaudio", "peft")
    wheel(wheels, "llamafactory", "0.9.5", needs=needs, **{"lf_stand_in.py": _COMMAND, **entry})

    assert main(["tuner", "install", "llamafactory"]) == 0
    folder = _LLAMAFACTORY.folder
    assert capsys.readouterr().out.splitlines() == [
        f"installing LLaMA-Factory 0.9.5 into {folder}; this takes minutes and some 2.2 GB",
        "pip install torch==2.13.0 llamafactory==0.9.5",
        "mending it for a CPU: torchvision and torchaudio go, which would load CUDA libraries",
        "installed LLaMA-Factory 0.9.5",
    ]
    told = subprocess.run([_LLAMAFACTORY.executable()], capture_output=True, text=True, check=True).stdout
    assert told == "Stands in for torchaudio, which LLaMA-Factory imports and does not use for text.\n"
    (packages,) = folder.glob("lib/python3*/site-packages")
    assert (packages / "peft-0.18.1.dist-info").is_dir()
    assert main(["tuner", "install", "llamafactory"]) == 0
    assert capsys.readouterr().out == f"LLaMA-Factory 0.9.5 is installed in {folder}\n"


def test_what_pip_says_is_shown_and_half_an_environment_is_none(
    wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tuner", "install", "axolotl"]) == 2
    shown = capsys.readouterr().err
    assert "No matching distribution found for axolotl==0.19.0" in shown
    assert shown.endswith("mend that and run harness tuner install axolotl again\n")
    with pytest.raises(MissingPackage):
        TUNERS["axolotl"].executable()


def test_unsloth_is_said_to_need_a_gpu(wheels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel(wheels, "unsloth", "2026.10.9")
    assert main(["tuner", "install", "unsloth"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Unsloth trains on a GPU only, and there is none here; it is installed all the same"
    assert lines[-1] == "installed Unsloth 2026.10.9"
