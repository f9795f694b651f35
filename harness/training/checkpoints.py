"""Checkpoints: sealed once whole, checked before use, a torn one stepped over."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.fingerprint import file_sha256

STATE = "trainer_state.json"
_SEAL = "seal.json"
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")
# One of each: several processes have a random state each, and DeepSpeed names its folder of optimiser states.
_NEEDED = ((STATE,), ("optimizer.pt", "latest"), ("scheduler.pt",), ("rng_state.pth", "rng_state_0.pth"))


@dataclass(frozen=True, slots=True)
class Found:
    """What an interrupted run left. usable: the checkpoint to go on from. torn: what was wrong with the others."""

    usable: Path | None
    torn: tuple[str, ...]


def seal(folder: Path) -> None:
    """Write the sha256 of each file of a finished checkpoint: the seal, written last, is what makes it whole."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    unfinished = folder / f"{_SEAL}.unfinished"
    unfinished.write_text(json.dumps(hashes), encoding="utf-8")
    os.replace(unfinished, folder / _SEAL)


def fault(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint, None where it is whole.

    Bytes are compared with the seal, so nothing is unpickled here and a flipped bit is found as a cut file is.
    """
    try:
        hashes = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "it was not finished"
    for names in _NEEDED:
        if not any(name in hashes for name in names):
            return f"it lacks {names[0]}"
    if not any(name in hashes for name in _WEIGHTS):
        return "it has no weights"
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is gone"
        if file_sha256(path) != expected:
            return f"{name} is damaged"
    return None


def recover(folder: Path) -> Found:
    """Delete what is torn under `folder`, and return the newest checkpoint that training can go on from.

    A checkpoint is no use without the best one it names: training goes on from an older one then, and meets the
    best weights again.
    """
    torn, whole = [], []
    for checkpoint in _by_step(folder):
        if (reason := fault(checkpoint)) is None:
            whole.append(checkpoint)
        else:
            torn.append(f"{checkpoint.name}: {reason}")
            shutil.rmtree(checkpoint)
    while whole:
        best = best_step(whole[-1])
        if best is None or f"checkpoint-{best}" in {checkpoint.name for checkpoint in whole}:
            return Found(whole[-1], tuple(torn))
        last = whole.pop()
        torn.append(f"{last.name}: its best checkpoint, of step {best}, is gone")
        shutil.rmtree(last)
    return Found(None, tuple(torn))


def best_step(checkpoint: Path) -> int | None:
    """Return the step of the lowest dev loss so far, None where there was no evaluation."""
    value = json.loads((checkpoint / STATE).read_text(encoding="utf-8")).get("best_global_step")
    return int(value) if value else None


def last_whole(folder: Path) -> Path | None:
    """Return the newest sealed checkpoint under `folder`."""
    sealed = [checkpoint for checkpoint in _by_step(folder) if (checkpoint / _SEAL).is_file()]
    return sealed[-1] if sealed else None


def _by_step(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))
