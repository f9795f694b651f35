"""Several processes train one recipe: launched with torchrun, watched, their checkpoints left for one to finish."""

import importlib.util
import json
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import torch

from harness.errors import MissingPackage, StageFailed
from harness.inference.models.loading import weights_folder
from harness.recipes import SFT
from harness.training.callbacks import recover
from harness.training.config import choose_precision
from harness.training.external.process import TrainingLogs, run_process
from harness.training.network import ground
from harness.training.rows import draw_rows
from harness.training.session import steps_of
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.protocols import Progress
from harness.types.samples import Check

JOB, TOLD = "job.pickle", "told.jsonl"
WORLD = "world.json"
_WORKER = "harness.training.distributed.worker"


def train_together(job: TuneJob, *, progress: Progress) -> tuple[dict[str, str | int], tuple[Check, ...]]:
    """Train `job.recipe` on its devices, up to the last checkpoint in `job.folder / "checkpoints"`.

    Returns how the processes really shared the work, for the stage's record, and the check of it. An interrupted run
    goes on from its newest whole checkpoint.

    Raises:
        StageFailed: If a process fails, or training runs otherwise than asked, and MissingPackage.
    """
    recipe, model = job.recipe, job.model
    assert isinstance(recipe, SFT)
    assert isinstance(model, Model)
    if recipe.sharing in ("zero2", "zero3") and importlib.util.find_spec("deepspeed") is None:
        raise missing()
    on_cpu = choose_precision(model, recipe.adapter).device.type == "cpu"
    _check_devices(recipe, on_cpu=on_cpu)
    _prepare_alone(job, model, recipe, progress)
    folder = job.folder / "distributed"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOLD).unlink(missing_ok=True)
    (folder / JOB).write_bytes(_pickled(job, recipe))
    total = steps_of(recipe, len(draw_rows(job.train, recipe.limit, seed=job.seed)))
    with progress.meter(f"train {recipe.name}", total=total, unit="steps") as meter:
        try:
            run_process(
                _command(recipe, folder),
                TrainingLogs(folder / "train.log", folder / TOLD),
                shown=f"training on {recipe.devices} devices",
                meter=meter,
                environment=_variables(recipe, on_cpu=on_cpu),
            )
        except StageFailed as error:
            raise StageFailed(_told_error(folder / TOLD) or str(error)) from error
    (folder / JOB).unlink()
    seen = read_seen(folder)
    detail = f"{seen['world_size']} processes trained as {seen['wrapper']} over {seen['backend']}"
    return seen, (Check(name="devices", status="ok", detail=detail),)


def _check_devices(recipe: SFT, *, on_cpu: bool) -> None:
    there = torch.cuda.device_count()
    if not on_cpu and recipe.devices > there:
        raise StageFailed(f"devices={recipe.devices}, and there are {there} GPUs here; give devices={there}")


def _prepare_alone(job: TuneJob, model: Model, recipe: SFT, progress: Progress) -> None:
    """Do what several processes would do to the same files at once: convert, merge, delete torn checkpoints."""
    weights_folder(model, progress=progress)
    if job.start is not None:
        ground(job, model, recipe.adapter, progress=progress)
    for line in recover(job.folder / "checkpoints").torn:
        progress.say(f"stepped over a torn checkpoint, {line}")


def _pickled(job: TuneJob, recipe: SFT) -> bytes:
    """Return the job without what the user's own code may have made: prompts are rendered already."""
    bare = replace(
        job,
        recipe=replace(recipe, prompt=None),
        train=tuple(replace(example, sample=None) for example in job.train),
        dev=tuple(replace(example, sample=None) for example in job.dev),
        earlier=(),
        task=None,
    )
    try:
        return pickle.dumps(bare)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise StageFailed(f"devices={recipe.devices}: the job cannot be handed to other processes: {error}") from error


def _command(recipe: SFT, folder: Path) -> list[str]:
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(recipe.devices)]
    return [sys.executable, "-m", *launcher, "-m", _WORKER, str(folder)]


def _variables(recipe: SFT, *, on_cpu: bool) -> dict[str, str]:
    threads = max(1, torch.get_num_threads() // recipe.devices)
    ours = {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        # The processes import what this one does.
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if on_cpu:
        ours |= {"CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo")}
    return {**os.environ, **ours}


def _told_error(path: Path) -> str | None:
    """Return the reason that a process gave in its own words, None if it gave none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    reasons = [str(line["error"]) for line in map(json.loads, lines) if "error" in line]
    return reasons[-1] if reasons else None


def read_seen(folder: Path) -> dict[str, str | int]:
    """Return what `write_seen` wrote. Raises StageFailed where it wrote nothing."""
    try:
        found: dict[str, str | int] = json.loads((folder / WORLD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageFailed(f"{folder} has no {WORLD}: no process has told how it trained; run again") from error
    return found


def missing() -> MissingPackage:
    """Return the error that says how to bring DeepSpeed."""
    return MissingPackage('strategy="zero2" and "zero3" need DeepSpeed; bring it with: pip install deepspeed==0.19.8')
