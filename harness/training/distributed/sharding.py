"""FSDP2 by hand: weights, gradients and optimiser state split among processes, by torch's `fully_shard`.

The trainer's own FSDP is silently plain DDP on a CPU.

The trainer of one among several processes: its share of each batch, and the loss of the whole.

The processes that train together, as each of them sees them.

DeepSpeed's ZeRO: optimiser state and gradients (stage 2), or the weights too (stage 3), split among processes.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as messages
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader
from transformers.trainer_pt_utils import get_module_class_from_name

from harness.errors import StageFailed
from harness.recipes.sft import Sharing
from harness.training.launch import WORLD, missing
from harness.training.rows import IGNORED
from harness.training.sft import AnswerTrainer


class SharedTrainer(AnswerTrainer):
    """AnswerTrainer on every n-th row of each micro-batch.

    The batches are those of a single process, cut by rows: the same rows make a step, also in the short last batch,
    whatever the number of processes. `per_device_train_batch_size` is of all of them together.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.packs = False  # the packing reads the model's insides, which a wrapper hides

    def get_train_dataloader(self) -> "DataLoader[Any]":
        """Return the loader of this process' share; accelerate would hand out whole batches in turn."""
        return DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self._get_train_sampler(),
            collate_fn=lambda rows: self.data_collator(share(rows, messages.get_rank(), messages.get_world_size())),
        )

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return this share's part of the loss, times the processes: their gradients are averaged, not summed."""
        total, tokens = self._summed_loss(model, inputs)
        loss = total / (tokens if num_items_in_batch is None else num_items_in_batch) * messages.get_world_size()
        return (loss, {"loss": loss}) if return_outputs else loss

    def _track_num_input_tokens(self, inputs: Any) -> None:
        """Count the tokens of real rows: every process takes part in the sum, also one without any."""
        if not (inputs["labels"] != IGNORED).any():
            inputs = {**inputs, "attention_mask": inputs["attention_mask"] * 0}
        super()._track_num_input_tokens(inputs)


def share(rows: list[Mapping[str, Any]], rank: int, size: int) -> list[Mapping[str, Any]]:
    """Return every `size`-th row from `rank` on; where that is none, a row of which nothing is learned.

    Each process has to compute something, since the others wait for its gradients.
    """
    mine = rows[rank::size]
    if mine:
        return mine
    return [{**rows[0], "labels": [IGNORED] * len(rows[0]["labels"])}]


_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class SplitTrainer(SharedTrainer):
    """SharedTrainer whose weights are split; its checkpoints hold them whole, as a single process writes them."""

    _whole: dict[str, Any] | None = None

    def split(self, world_size: int) -> None:
        """Split the model's blocks, then the rest, and keep accelerate from wrapping it once more."""
        mesh = init_device_mesh(self.model.device.type, (world_size,))
        for block in _blocks(self.model):
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self.accelerator.prepare_model = _as_it_is

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._whole = get_model_state_dict(self.model, options=_WHOLE)  # every process takes part
        super()._save_checkpoint(model, trial)
        self._whole = None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict=self._whole if state_dict is None else state_dict)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = get_optimizer_state_dict(self.model, self._plain_optimizer(), options=_WHOLE)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / "optimizer.pt")
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        # Our own files, whose bytes were compared with their seal.
        state = torch.load(Path(checkpoint) / "optimizer.pt", weights_only=True)
        set_optimizer_state_dict(
            self.model, self._plain_optimizer(), state, options=StateDictOptions(full_state_dict=True)
        )
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        state: dict[str, Any] = dict(whole_weights(Path(resume_from_checkpoint)))
        set_model_state_dict(self.model, state, options=StateDictOptions(full_state_dict=True, strict=False))

    def _plain_optimizer(self) -> torch.optim.Optimizer:
        prepared: Any = self.optimizer  # accelerate holds the optimiser in one of its own
        plain: torch.optim.Optimizer = getattr(prepared, "optimizer", prepared)
        return plain


def whole_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint under their names in the model: an adapter's go by "default" there."""
    adapter = checkpoint / "adapter_model.safetensors"
    if not adapter.is_file():
        parts = [load_file(path) for path in sorted(checkpoint.glob("model*.safetensors"))]
        return {name: tensor for part in parts for name, tensor in part.items()}
    return {f"{name.removesuffix('.weight')}.default.weight": tensor for name, tensor in load_file(adapter).items()}


def _blocks(model: Any) -> list[torch.nn.Module]:
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    kinds = {get_module_class_from_name(plain, name) for name in plain._no_split_modules or ()}
    return [module for module in model.modules() if type(module) in kinds]


def _as_it_is(model: Any, *_: Any, **__: Any) -> Any:
    return model


_WRAPPERS = {
    "ddp": "DistributedDataParallel",
    "zero2": "DeepSpeedEngine, stage 2",
    "zero3": "DeepSpeedEngine, stage 3",
    "fsdp2": "FSDPModule",
}


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


def check_sharding(seen: Seen, *, devices: int, strategy: Sharing) -> None:
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


def _wrapper(trainer: Any) -> str:
    wrapped = trainer.model_wrapped
    name = type(wrapped).__name__
    if name == "DeepSpeedEngine":
        return f"{name}, stage {wrapped.zero_optimization_stage()}"
    # fully_shard gives a model a new class that is both.
    if any(kind.__name__ == "FSDPModule" for kind in type(wrapped).__mro__):
        return "FSDPModule"
    return name


def start_deepspeed(*, on_cpu: bool) -> None:
    """Connect the processes before the trainer is made.

    Without that DeepSpeed counts one process if there are several, and its batch arithmetic fails for stage 3.

    Raises:
        MissingPackage: If DeepSpeed is not installed.
    """
    if on_cpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    try:
        import deepspeed
    except ModuleNotFoundError as error:
        raise missing() from error
    deepspeed.init_distributed("gloo" if on_cpu else "nccl", verbose=False)


def deepspeed_settings(stage: Literal[2, 3]) -> dict[str, Any]:
    """Return DeepSpeed's settings; what is "auto" is the trainer's own.

    The weights are gathered when a checkpoint is saved, so that it is one that a single process reads.
    """
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": False},  # autocast is opened where the method computes
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": False,
            "stage3_gather_16bit_weights_on_model_save": True,
            "stage3_param_persistence_threshold": 0,
        },
    }
