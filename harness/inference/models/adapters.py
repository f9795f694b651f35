"""A base model with the trained weights of an adapter on it: loaded, taken off, switched off, merged, saved.

PEFT carries most methods, `harness.inference.custom_adapters` the rest; training, serving and checks come through
this one door.
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.errors import StageFailed
from harness.inference.custom_adapters import storage as own
from harness.inference.models.hardware import dtype_name, errors_only, unwarned
from harness.types.samples import Check

# What tells an adapter's folder: PEFT's file, or that of the harness's own modules.
_CONFIGS = ("adapter_config.json", own.CONFIG)


def is_adapter(folder: Path) -> bool:
    """Tell an adapter folder from a whole model.

    Raises StageFailed where `folder` is neither.
    """
    if any((folder / name).is_file() for name in _CONFIGS):
        return True
    if (folder / "config.json").is_file():
        return False
    raise StageFailed(
        f"{folder} holds neither an adapter ({' or '.join(_CONFIGS)}) nor a model (config.json); "
        "delete the folder and run again to tune anew"
    )


def is_own(folder: Path) -> bool:
    """Tell whether `folder` holds an adapter of the harness's own modules, which no other program loads."""
    return (folder / own.CONFIG).is_file()


def attach(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Return `base` with the adapter of `folder` switched on, in evaluation mode.

    The adapter keeps the base's dtype: PEFT's default of float32 casts every activation twice. trainable: the adapter
    is float32 and wants gradients, for training that goes on.

    Raises StageFailed where the adapter does not fit the base.
    """
    if is_own(folder):
        return own.attach_custom(base, folder, trainable=trainable).eval()
    # Imported here because it takes 3 to 6 s, which a run of baselines need not pay. On the way it loads
    # bitsandbytes, which warns about an optional kernel that nothing here uses.
    with errors_only("bitsandbytes"):
        from peft import PeftModel

    try:
        # PEFT looks for AdaLoRA's ranks under names that it does not save, and finds them again afterwards.
        with unwarned("The following rank_pattern keys"):
            adapted = PeftModel.from_pretrained(
                base, str(folder), is_trainable=trainable, autocast_adapter_dtype=trainable
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise StageFailed(
            f"the adapter in {folder} does not load onto the base model ({dtype_name(base.dtype)}): "
            f"{str(error).splitlines()[0]}; delete the folder and run again to tune anew"
        ) from error
    if trainable:
        # Its checkpoints would ask the hub for the base by the name that was saved.
        for config in adapted.peft_config.values():
            config.base_model_name_or_path = base.config._name_or_path
    return adapted.eval()


def is_adapted(network: Any) -> bool:
    """Tell whether `network` is a base with an adapter on it, by type and without importing PEFT."""
    return own.on(network) is not None or (hasattr(network, "peft_config") and hasattr(network, "active_adapter"))


def is_prompt_learning(adapted: Any) -> bool:
    """Tell whether the adapter is a set of virtual tokens that every text starts from.

    Not so a prefix of the harness's own, which each layer sees by itself and no text starts from.
    """
    if own.on(adapted) is not None:
        return False
    return bool(adapted.peft_config[adapted.active_adapter].is_prompt_learning)


def changes_attention(network: Any) -> bool:
    """Tell whether an adapter changes attention itself, so that no other attention function may take its place."""
    hung = own.on(network)
    return hung is not None and hung.attends


def remarks(network: Any) -> tuple[Check, ...]:
    """Return what a run's record should say of the adapter as it lies on this model."""
    hung = own.on(network)
    return () if hung is None else hung.remarks


def detach(adapted: Any) -> Any:
    """Return the base model as it was before `attach`."""
    if own.on(adapted) is not None:
        return own.detach_custom(adapted)
    return adapted.base_model if is_prompt_learning(adapted) else adapted.unload()


@contextmanager
def switched_off(adapted: Any) -> Iterator[None]:
    """Let `adapted` compute what its base computes, for a while."""
    with own.custom_switched_off(adapted) if own.on(adapted) is not None else adapted.disable_adapter():
        yield


def merge(adapted: Any) -> Any:
    """Return the base with the adapter's update as part of its weights; `adapted` is used up.

    Merge in float32: in half precision a small update is rounded away.

    Raises StageFailed saying why, where the method has no update of weights.
    """
    if own.on(adapted) is not None:
        return own.merge_custom(adapted)
    kind = adapted.peft_config[adapted.active_adapter].peft_type.value
    if is_prompt_learning(adapted):
        raise StageFailed(f"{kind} cannot be merged: its virtual tokens are read by the model, no weight changes")
    try:
        return adapted.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise StageFailed(f"{kind} cannot be merged: {str(error).splitlines()[0]}") from error


def save_adapter(adapted: Any, folder: Path, *, base: str) -> None:
    """Write the adapter's weights as safetensors and its config to `folder`. base: the name it gives its base model."""
    if own.on(adapted) is not None:
        own.save_custom(adapted, folder, name=base)
        return
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = base
    # "auto" would ask the hub whether the vocabulary has grown.
    adapted.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # an empty card


def count_parameters(network: Any) -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are; a 4-bit layer counts its unpacked weights."""
    if is_adapted(network) and own.on(network) is None:
        trained, total = network.get_nb_trainable_parameters()
        return int(trained), int(total)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, wanted in sizes if wanted), sum(size for size, _ in sizes)


def collect() -> None:
    """Give back the memory of networks that nothing refers to any more.

    glibc keeps what was freed between blocks that are still in use: 0.7 GiB after tuning the default model.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
