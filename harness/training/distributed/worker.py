"""One of the processes that train together: python -m harness.training.distributed.worker FOLDER, under torchrun."""

import json
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from harness.errors import HarnessError
from harness.recipes import SFT
from harness.training.config import choose_precision
from harness.training.distributed.sharding import (
    SharedTrainer,
    SplitTrainer,
    check_sharding,
    deepspeed_settings,
    look_at,
    start_deepspeed,
    write_seen,
)
from harness.training.launch import JOB, TOLD
from harness.training.session import train_share
from harness.training.sft import prepare
from harness.types.jobs import TuneJob


class WorkerOrder:
    """A progress that tells the launching process, by one JSON line a step; only the first process does."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def say(self, line: str) -> None:
        self._write({"said": line})

    def fail(self, reason: str) -> None:
        self._write({"error": reason})

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self._write({"note": note})

    def take_loss(self, loss: float) -> None:
        self._write({"loss": loss})

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator["WorkerOrder"]:
        yield self

    def _write(self, line: dict[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


def main(folder: Path) -> int:
    """Train the job that lies in `folder`; returns the exit code."""
    first = int(os.environ["RANK"]) == 0
    told = WorkerOrder(folder / TOLD if first else None)
    # Written by the launching process for this one.
    job = cast(TuneJob, pickle.loads((folder / JOB).read_bytes()))  # noqa: S301
    try:
        _train(job, folder, first=first, told=told)
    except HarnessError as error:
        told.fail(str(error))
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _train(job: TuneJob, folder: Path, *, first: bool, told: WorkerOrder) -> None:
    recipe = job.recipe
    assert isinstance(recipe, SFT)
    strategy = recipe.sharing
    settings: dict[str, Any] = {}
    if strategy in ("zero2", "zero3"):
        start_deepspeed(on_cpu=_on_cpu(job))
        settings["deepspeed"] = deepspeed_settings(2 if strategy == "zero2" else 3)

    def witness(trainer: Any) -> None:
        seen = look_at(trainer)
        check_sharding(seen, devices=recipe.devices, strategy=strategy)
        if first:
            write_seen(folder, seen, strategy=strategy)

    def split(trainer: Any) -> None:
        if strategy == "fsdp2":
            trainer.split(recipe.devices)

    train_share(
        job,
        partial(prepare, kind=SplitTrainer if strategy == "fsdp2" else SharedTrainer, settings=settings),
        split=split if strategy in ("zero3", "fsdp2") else None,
        witness=witness,
        progress=told,
    )


def _on_cpu(job: TuneJob) -> bool:
    model: Any = job.model
    recipe: Any = job.recipe
    return choose_precision(model, recipe.adapter).device.type == "cpu"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
