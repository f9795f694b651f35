"""What a run starts from: the declared model, or what an earlier step made of it."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.errors import StageFailed
from harness.fingerprint import fingerprint
from harness.jobs import TuneJob
from harness.models import Model
from harness.protocols import Progress
from harness.recipes.adapters import Adapter
from harness.weights.adapted import attach, is_adapter, merge
from harness.weights.loading import load_model, load_tokenizer

_FACTS = "harness.json"


@dataclass(frozen=True, slots=True)
class Ground:
    """model: the base of this run. adapter: folder of an earlier step's adapter that goes on being trained.

    moved: the base holds what earlier steps learned, so that only a whole model can be served.
    """

    model: Model
    adapter: Path | None = None
    moved: bool = False


def ground(job: TuneJob, model: Model, adapter: Adapter, *, progress: Progress, anew: bool = False) -> Ground:
    """Return what `job` starts from.

    The same adapter as the earlier step's goes on being trained. Any other is put on a base into which the earlier
    step's update was merged; that base lies in `job.folder` while the run lasts.
    anew: a new adapter in any case, for what is no policy any more.

    Raises StageFailed where an earlier step's adapter, or this one, cannot be merged.
    """
    if job.start is None:
        return Ground(model)
    if not is_adapter(job.start):
        base = Ground(_at(model, job.start), moved=True)
    elif not anew and facts(job.start).get("adapter_key") == adapter_key(adapter):
        return Ground(model, adapter=job.start)
    else:
        base = Ground(_at(model, _merged(job, model, progress)), moved=True)
    if not adapter.merges:
        raise StageFailed(
            f"{adapter.name} after {facts(job.start).get('adapter', 'an earlier step')}: what two steps learned is "
            f"served as one model, and {adapter.name} cannot be merged; train both steps with the same adapter"
        )
    return base


def adapter_key(adapter: Adapter) -> str:
    """Return what tells one adapter's declaration from another's."""
    return fingerprint(adapter)


def facts(folder: Path) -> dict[str, str | int | None]:
    """Return what the harness wrote about the tuned system in `folder`; nothing where it wrote none."""
    try:
        read: dict[str, str | int | None] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read


def write_facts(folder: Path, found: dict[str, str | int | None]) -> None:
    """Write harness.json."""
    (folder / _FACTS).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _at(model: Model, folder: Path) -> Model:
    return replace(model, source=str(folder), revision=None)


def _merged(job: TuneJob, model: Model, progress: Progress) -> Path:
    """Return the folder of the model with the earlier step's update in its weights, in float32."""
    assert job.start is not None
    folder = job.folder / "base"
    if folder.is_dir():
        return folder
    progress.say(f"merging the earlier step's {facts(job.start).get('adapter', 'adapter')} into the model")
    unfinished = folder.with_name("base.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    whole = merge(attach(load_model(model, dtype=torch.float32), job.start))
    whole.save_pretrained(unfinished)
    load_tokenizer(model).save_pretrained(unfinished)
    unfinished.rename(folder)
    return folder
