"""FSDP2 by hand: weights, gradients and optimiser state split among processes, by torch's `fully_shard`.

The trainer's own FSDP is silently plain DDP on a CPU.
"""

from pathlib import Path
from typing import Any

import torch
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

from harness.tuning.distributed.shared import SharedTrainer

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
    names = set(plain._no_split_modules or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def _as_it_is(model: Any, *_: Any, **__: Any) -> Any:
    return model
