"""Tuners that replay what the real ones left: `recorded/` holds a run of each on the tiny model."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.environments import TUNERS
from harness.recipes.sft import Backend

RECORDED = Path(__file__).with_name("recorded")
_REPLAY = """#!{python}
import json, shutil, sys
from pathlib import Path
import yaml
config = yaml.safe_load(Path(sys.argv[2]).read_text())
assert sys.argv[1] == "train", sys.argv
recorded, output = Path({recorded!r}), Path(config["output_dir"])
{before}
shutil.copytree(recorded / "output", output)
print((recorded / "train.log").read_text())
{after}
"""


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a tuner that replays its recorded run. before, after: Python that it runs around that."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))

    def install(name: Backend, *, before: str = "", after: str = "") -> None:
        folder = TUNERS[name].folder
        (folder / "bin").mkdir(parents=True)
        (folder / "installed.txt").write_text(f"{name}\n", encoding="utf-8")
        program = TUNERS[name].executable()
        text = _REPLAY.format(python=sys.executable, recorded=str(RECORDED / name), before=before, after=after)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)

    return install
