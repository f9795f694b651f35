"""`harness recipe export` and `import`, in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.cli.__main__ import main
from harness.recipes import SFT, LoRA
from harness.recipes.yaml import parse_recipe

_RECIPE = "SFT(adapter=LoRA(rank=8), learning_rate=0.001, max_length=512, limit=100)"


def test_export_prints_yaml_with_what_is_missing_and_what_did_not_map(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "export", _RECIPE, "--to", "axolotl"]) == 0

    shown = capsys.readouterr().out
    assert shown.splitlines()[:8] == [
        f"# {_RECIPE}",
        "# as settings of Axolotl; you have still to give:",
        "#   base_model: the model",
        "#   datasets: path and type",
        "#   test_datasets: path and type",
        "#   output_dir: a folder",
        "# did not map:",
        "#   limit=100: give a data set with fewer rows",
    ]
    assert yaml.safe_load(shown)["lora_r"] == 8


def test_what_was_exported_is_imported_as_the_same_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sft.yaml"
    assert main(["recipe", "export", _RECIPE, "--to", "llamafactory", "--output", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert main(["recipe", "import", str(path)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"# {path}: settings of LLaMA-Factory", "# everything mapped", "from harness import LoRA, SFT"]
    written = parse_recipe(lines[-1])
    assert written == SFT(adapter=LoRA(rank=8, alpha=None), learning_rate=0.001, max_length=512, limit=100)


def test_a_recipe_of_an_experiment_file_is_chosen_by_its_name(
    tmp_path: Path, write_experiment: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_experiment(tmp_path / "lamps.py")
    text = path.read_text(encoding="utf-8")
    several = text.replace("ScriptedTuning(learn=1.0)", "SFT(label='mine', epochs=2), SFT(epochs=4)")
    path.write_text(several, encoding="utf-8")

    assert main(["recipe", "export", str(path), "--to", "axolotl", "--recipe", "mine"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["num_epochs"] == 2
    assert main(["recipe", "export", str(path), "--to", "axolotl"]) == 2
    assert "choose one with --recipe: mine, sft lora-r16 epochs=4" in capsys.readouterr().err
    path.write_text(text, encoding="utf-8")
    assert main(["recipe", "export", str(path), "--to", "axolotl"]) == 2
    assert "has no SFT recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", _RECIPE], "whose YAML? give --to with one of llamafactory, axolotl, unsloth"),
        (["export", "SFT(", "--to", "axolotl"], "is no expression"),
        (["import", "absent.yaml"], "absent.yaml cannot be read: No such file or directory; name a YAML file"),
        (["import", "list.yaml"], "holds no settings (key: value) but list"),
        (["import", "broken.yaml"], "broken.yaml is no YAML"),
        (["export", _RECIPE, "--to", "axolotl", "--output", "no/such/folder.yaml"], "cannot be written"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("- one\n", encoding="utf-8")
    Path("broken.yaml").write_text("a: [", encoding="utf-8")

    assert main(["recipe", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1
