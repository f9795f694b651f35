"""Checkpoints: sealed once whole, checked before use, a torn one stepped over.

What is watched while a model trains: the pace of evaluations, patience, faults, the progress line, the seals.

The trainer's log history, which a checkpoint carries, as values of a training log.

The most memory that a training held, one training of a process at a time.
"""

import ctypes
import gc
import json
import math
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.errors import StageFailed
from harness.fingerprint import file_sha256
from harness.types.jobs import LogPoint
from harness.types.protocols import Meter, TakesLoss

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
    """Return what is wrong with a checkpoint, None if it is whole.

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
    """Return the step of the lowest dev loss so far, None if there was no evaluation."""
    value = json.loads((checkpoint / STATE).read_text(encoding="utf-8")).get("best_global_step")
    return int(value) if value else None


def last_whole(folder: Path) -> Path | None:
    """Return the newest sealed checkpoint under `folder`."""
    sealed = [checkpoint for checkpoint in _by_step(folder) if (checkpoint / _SEAL).is_file()]
    return sealed[-1] if sealed else None


def _by_step(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


_NAMES = {
    "loss": "loss",
    "eval_loss": "dev_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "num_input_tokens_seen": "tokens",
    "step_seconds": "seconds",
    "memory": "memory",
}

# Seconds since training began, those of interrupted processes included.
ELAPSED = "elapsed_seconds"

History = Sequence[dict[str, Any]]


def log_points(history: History, also: Mapping[str, str] = MappingProxyType({})) -> tuple[LogPoint, ...]:
    """Return the values of each step in order; tokens are counted from the start of training, padding left out.

    Args:
        also: What a method logs besides, key of the trainer -> name in the training log.
    """
    known = {**_NAMES, **also}
    points = []
    for entry in history:
        evaluated = any(key.startswith("eval_") for key in entry)
        if "loss" not in entry and not evaluated:
            continue  # the trainer's closing summary
        for key, name in known.items():
            if key in entry and key.startswith("eval_") == evaluated:
                points.append(
                    LogPoint(step=entry["step"], epoch=float(entry["epoch"]), name=name, value=float(entry[key]))
                )
    return tuple(points)


def train_losses(history: History) -> list[float]:
    """Return the training loss of each step."""
    return [float(entry["loss"]) for entry in history if "loss" in entry]


@dataclass(frozen=True, slots=True)
class CheckpointGoal:
    """What chooses the checkpoint: a value of the evaluations, and whether a higher one is better."""

    key: str = "eval_loss"
    higher: bool = False

    def points(self, history: History) -> list[tuple[int, float]]:
        """Return (step, value) of each evaluation."""
        return [(int(entry["step"]), float(entry[self.key])) for entry in history if self.key in entry]

    def best(self, history: History) -> tuple[int, float] | None:
        """Return (step, value) of the best evaluation, the first of equal ones; None if there was none."""
        points = self.points(history)
        sign = -1 if self.higher else 1
        return min(points, key=lambda point: sign * point[1]) if points else None

    def out_of_patience(self, history: History, patience: int | None) -> bool:
        """Tell whether the last `patience` evaluations brought nothing better.

        Read from the stored history, so that a resumed run stops where an undisturbed one does.
        """
        best = self.best(history)
        if patience is None or best is None:
            return False
        return sum(step > best[0] for step, _ in self.points(history)) >= patience


def elapsed(history: History) -> float:
    """Return the seconds of training up to the last entry, those of interrupted processes included."""
    return max((float(entry[ELAPSED]) for entry in history if ELAPSED in entry), default=0.0)


def last_tokens(history: History) -> int:
    """Return how many tokens were trained on, prompts included."""
    seen = [int(entry["num_input_tokens_seen"]) for entry in history if "num_input_tokens_seen" in entry]
    return seen[-1] if seen else 0


_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): sets the peak resident set back to the present one


def restart(device: torch.device) -> None:
    """Let the peak begin at what is held now. Where a system knows no such thing, it stays that of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    _give_back()
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return


def _give_back() -> None:
    """Return freed memory to the system, as far as its library does: a training is not to be charged for the last."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc's alone
    except (AttributeError, OSError):
        return


def peak_memory(device: torch.device) -> int:
    """Return the most bytes held since `restart`: the GPU's allocator's, on a CPU the resident set's."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.is_file():
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        kilobytes = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
        if kilobytes is not None:
            return 1024 * int(kilobytes)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# One bad batch is no divergence.
_WINDOW = 3
_WORSE = 1.5
_EXPLODED = 10.0
# Below this loss a gradient that rounds to 0 is success, not collapse.
_LEARNED = 0.01


class Pacer(TrainerCallback):  # type: ignore[misc]
    """Evaluates every so many steps and at the last one, and ends the run when patience is exhausted."""

    def __init__(self, *, every: int, patience: int | None, goal: CheckpointGoal) -> None:
        self._every, self._patience, self._goal = every, patience, goal

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        control.should_evaluate = state.global_step % self._every == 0 or state.global_step >= state.max_steps
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self._goal.out_of_patience(state.log_history, self._patience):
            control.should_training_stop = True
            control.should_save = True
        return control


class Watch(TrainerCallback):  # type: ignore[misc]
    """Stops the run at the first value that is not finite, and where the loss has left for good."""

    def __init__(self, *, folder: Path, vocabulary: int, learning_rate: float, likelihood: bool) -> None:
        self._folder, self._rate, self._likelihood = folder, learning_rate, likelihood
        # A model that knows nothing guesses each token at this loss.
        self._guessing = math.log(vocabulary)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        for key, called in (("loss", "loss"), ("grad_norm", "gradient norm"), ("eval_loss", "dev loss")):
            if key in logs and not math.isfinite(logs[key]):
                raise StageFailed(self._said(state, f"the {called} is {logs[key]}"))
        if not self._likelihood:
            return
        if "loss" in logs and (fact := self._divergence(train_losses(state.log_history), logs)) is not None:
            raise StageFailed(self._said(state, fact))

    def _divergence(self, losses: list[float], logs: dict[str, Any]) -> str | None:
        """Return in words how training has gone astray, None if it has not.

        Weights that were blown up need not give a large loss: the norms inside a model can turn them into the same
        constant answer to everything, which costs what guessing costs and has no gradient any more.
        """
        loss, limit = losses[-1], max(self._guessing, _WORSE * min(losses[:_WINDOW]))
        if logs.get("grad_norm") == 0 and loss > _LEARNED:
            return f"the gradient is 0 at a loss of {loss:.3g}: the weights have run away, nothing is learned any more"
        if loss > _EXPLODED * limit:
            return f"the loss jumped to {loss:.3g} after {losses[0]:.3g} at the start: training diverges"
        if len(losses) > _WINDOW and min(losses[-_WINDOW:]) > limit:
            said = f"the loss is {loss:.3g} after {losses[0]:.3g} at the start, and above {limit:.3g}"
            return f"{said} for {_WINDOW} steps: training diverges"
        return None

    def _said(self, state: TrainerState, fact: str) -> str:
        good = last_whole(self._folder)
        kept = f"the last good checkpoint is {good}" if good else "there is no good checkpoint yet"
        return (
            f"step {state.global_step} of {state.max_steps}: {fact} (learning rate {self._rate:g}); {kept}. "
            "Lower learning_rate (a tenth is a good start), then run again"
        )


class Watched(TrainerCallback):  # type: ignore[misc]
    """Adds to each evaluation the mark of an exam, under the name that chooses the checkpoint."""

    def __init__(self, mark: Callable[[], float], *, key: str) -> None:
        self._mark, self._key = mark, key

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        mark = self._mark()
        state.log_history[-1][self._key] = mark
        if metrics is not None:
            metrics[self._key] = mark  # the trainer chooses its best checkpoint from these


class Gauge(TrainerCallback):  # type: ignore[misc]
    """Adds to each step's log its seconds and the peak memory so far, in bytes; to every log the seconds of the run.

    Memory is what the GPU's allocator held at most since training began; on a CPU the process's resident set. The
    run's seconds go on from those that a checkpoint carries, and leave out what was lost after it.
    """

    def __init__(self, device: torch.device, *, before: float = 0.0) -> None:
        self._device, self._before = device, before
        self._began = self._opened = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        restart(self._device)
        self._opened = time.monotonic()

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._began = time.monotonic()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        state.log_history[-1][ELAPSED] = round(self._before + time.monotonic() - self._opened, 2)
        if "loss" in logs:
            state.log_history[-1]["step_seconds"] = round(time.monotonic() - self._began, 4)
            state.log_history[-1]["memory"] = peak_memory(self._device)


class Line(TrainerCallback):  # type: ignore[misc]
    """Moves the progress line by a step, with the last losses as its note, and the mark that is watched."""

    def __init__(self, meter: Meter, goal: CheckpointGoal) -> None:
        self._meter, self._goal = meter, goal

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        if "loss" in logs:
            dev = CheckpointGoal().points(state.log_history)
            note = f"loss {logs['loss']:.3f}" + (f", dev {dev[-1][1]:.3f}" if dev else "")
            if self._goal != CheckpointGoal() and (marks := self._goal.points(state.log_history)):
                note += f", {self._goal.key.removeprefix('eval_')} {marks[-1][1]:.3f}"
            if isinstance(self._meter, TakesLoss):
                self._meter.take_loss(logs["loss"])
            self._meter.advance(1, note=note)


class Begins(TrainerCallback):  # type: ignore[misc]
    """Calls `look` once, when training has begun and the trainer has wrapped the model."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._look()


class Sealer(TrainerCallback):  # type: ignore[misc]
    """Seals a checkpoint once all its files are written, by one process where several write to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if distributed.is_available() and distributed.is_initialized():
            distributed.barrier()
        if state.is_world_process_zero:
            seal(self._folder / f"checkpoint-{state.global_step}")
