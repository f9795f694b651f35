"""What another tuner left: its log, and its weights as a tuned system of ours."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open

from harness.errors import StageFailed
from harness.tuning.ground import write_facts

_STATE = "trainer_state.json"
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_MODEL = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json")


def read_state(output: Path, *, shown: str) -> dict[str, Any]:
    """Return the trainer's state at the end of training, its log history in it.

    Raises StageFailed where the tuner left none.
    """
    checkpoints = [path for path in output.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    newest = sorted(checkpoints, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True)
    states = []
    for folder in (output, *newest):
        try:
            states.append(json.loads((folder / _STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    if not states:
        raise StageFailed(f"{shown} left no {_STATE} in {output}, so nothing is known of its training; run again")
    last: dict[str, Any] = max(states, key=lambda state: int(state["global_step"]))
    return last


def bring_back(
    output: Path, folder: Path, *, base: str, tokenizer: Any, about: dict[str, str | int | None], shown: str
) -> None:
    """Make `folder` the tuned system out of what lies in `output`: an adapter, or a whole model with our tokenizer.

    base: the name that an adapter gives its base model. Only safetensors come back: other formats can run code.

    Raises StageFailed where the tuner left neither.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    if (output / _ADAPTER[0]).is_file():
        _take(output, unfinished, _ADAPTER, shown)
        path = unfinished / _ADAPTER[0]
        config = json.loads(path.read_text(encoding="utf-8"))
        # The folder that the tuner was given is gone after the run.
        path.write_text(json.dumps({**config, "base_model_name_or_path": base}, indent=2) + "\n", encoding="utf-8")
    else:
        _take(output, unfinished, _MODEL, shown)
        tokenizer.save_pretrained(unfinished)
    write_facts(unfinished, about)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def count_saved(folder: Path) -> int:
    """Return how many parameters the safetensors files of a folder hold."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dict
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                total += size
    return total


def _take(output: Path, folder: Path, patterns: tuple[str, ...], shown: str) -> None:
    for pattern in patterns:
        for path in output.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    if not any(folder.glob("*.safetensors")):
        raise StageFailed(
            f"{shown} left no safetensors weights in {output} (it has "
            f"{', '.join(sorted(path.name for path in output.iterdir())) if output.is_dir() else 'nothing'}); run again"
        )
