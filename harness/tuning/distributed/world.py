"""The processes that train together, as each of them sees them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import StageFailed
from harness.recipes.carriers import Sharing

_WRAPPERS = {
    "ddp": "DistributedDataParallel",
    "zero2": "DeepSpeedEngine, stage 2",
    "zero3": "DeepSpeedEngine, stage 3",
    "fsdp2": "FSDPModule",
}
WORLD = "world.json"


@dataclass(frozen=True, slots=True)
class Seen:
    """How training really runs. wrapper: class of what the trainer computes with. backend: of the messages."""

    world_size: int
    wrapper: str
    backend: str


def look_at(trainer: Any) -> Seen:
    """Return how a trainer that has begun to train shares its work."""
    import torch.distributed as messages

    if not messages.is_initialized():
        return Seen(1, type(trainer.model_wrapped).__name__, "none")
    return Seen(messages.get_world_size(), _wrapper(trainer), str(messages.get_backend()))


def check_seen(seen: Seen, *, devices: int, strategy: Sharing) -> None:
    """Raise StageFailed where training runs otherwise than it was asked to.

    Libraries fall back without a word: accelerate to one process, FSDP on a CPU to plain DDP.
    """
    wanted = _WRAPPERS[strategy]
    if (seen.world_size, seen.wrapper) == (devices, wanted):
        return
    raise StageFailed(
        f"devices={devices}, strategy={strategy!r} asks for {wanted} among {devices} processes, and training runs as "
        f"{seen.wrapper} among {seen.world_size}; give another strategy, or leave devices out"
    )


def write_seen(folder: Path, seen: Seen, *, strategy: Sharing) -> None:
    """Write what was seen, for the stage's record."""
    (folder / WORLD).write_text(json.dumps({"strategy": strategy, **asdict(seen)}) + "\n", encoding="utf-8")


def read_seen(folder: Path) -> dict[str, str | int]:
    """Return what `write_seen` wrote. Raises StageFailed where it wrote nothing."""
    try:
        found: dict[str, str | int] = json.loads((folder / WORLD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageFailed(f"{folder} has no {WORLD}: no process has told how it trained; run again") from error
    return found


def _wrapper(trainer: Any) -> str:
    wrapped = trainer.model_wrapped
    name = type(wrapped).__name__
    if name == "DeepSpeedEngine":
        return f"{name}, stage {wrapped.zero_optimization_stage()}"
    # fully_shard gives a model a new class that is both.
    if any(kind.__name__ == "FSDPModule" for kind in type(wrapped).__mro__):
        return "FSDPModule"
    return name
