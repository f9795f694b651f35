"""A base model with the trained weights of an adapter on it: loaded, taken off, switched off, merged, saved.

PEFT carries most methods, `harness.inference.custom_adapters` the rest; training, serving and checks come through
this one door.

Own adapters put on a base, taken off, switched off, merged, and kept on disk as safetensors with a JSON config.
"""

import ctypes
import gc
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.errors import HarnessError, StageFailed
from harness.inference.custom_adapters.hooks import ATTRIBUTE, CustomModules
from harness.inference.models.loading import dtype_name, errors_only, unwarned
from harness.recipes import adapters as bundled
from harness.recipes.adapters import Adapter, support_of
from harness.types.dotted_paths import resolve
from harness.types.samples import Check

# What tells an adapter's folder: PEFT's file, or that of the harness's own modules.
CONFIG = "harness_adapter.json"
_CONFIGS = ("adapter_config.json", CONFIG)


def is_adapter(folder: Path) -> bool:
    """Tell an adapter folder from a whole model.

    Raises:
        StageFailed: If `folder` is neither.
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
    return (folder / CONFIG).is_file()


def attach(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Return `base` with the adapter of `folder` switched on, in evaluation mode.

    The adapter keeps the base's dtype: PEFT's default of float32 casts every activation twice. trainable: the adapter
    is float32 and wants gradients, for training that goes on.

    Raises:
        StageFailed: If the adapter does not fit the base.
    """
    if is_own(folder):
        return attach_custom(base, folder, trainable=trainable).eval()
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
    return custom_modules(network) is not None or (
        hasattr(network, "peft_config") and hasattr(network, "active_adapter")
    )


def is_prompt_learning(adapted: Any) -> bool:
    """Tell whether the adapter is a set of virtual tokens that every text starts from.

    Not so a prefix of the harness's own, which each layer sees by itself and no text starts from.
    """
    if custom_modules(adapted) is not None:
        return False
    return bool(adapted.peft_config[adapted.active_adapter].is_prompt_learning)


def changes_attention(network: Any) -> bool:
    """Tell whether an adapter changes attention itself, so that no other attention function may take its place."""
    hung = custom_modules(network)
    return hung is not None and hung.attends


def remarks(network: Any) -> tuple[Check, ...]:
    """Return what a run's record should say of the adapter as it lies on this model."""
    hung = custom_modules(network)
    return () if hung is None else hung.remarks


def detach(adapted: Any) -> Any:
    """Return the base model as it was before `attach`."""
    if custom_modules(adapted) is not None:
        return detach_custom(adapted)
    return adapted.base_model if is_prompt_learning(adapted) else adapted.unload()


@contextmanager
def switched_off(adapted: Any) -> Iterator[None]:
    """Let `adapted` compute what its base computes, for a while."""
    with custom_switched_off(adapted) if custom_modules(adapted) is not None else adapted.disable_adapter():
        yield


def merge(adapted: Any) -> Any:
    """Return the base with the adapter's update as part of its weights; `adapted` is used up.

    Merge in float32: in half precision a small update is rounded away.

    Raises:
        StageFailed: Says why, if the method has no update of weights.
    """
    if custom_modules(adapted) is not None:
        return merge_custom(adapted)
    kind = adapted.peft_config[adapted.active_adapter].peft_type.value
    if is_prompt_learning(adapted):
        raise StageFailed(f"{kind} cannot be merged: its virtual tokens are read by the model, no weight changes")
    try:
        return adapted.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise StageFailed(f"{kind} cannot be merged: {str(error).splitlines()[0]}") from error


def save_adapter(adapted: Any, folder: Path, *, base: str) -> None:
    """Write the adapter's weights as safetensors and its config to `folder`. base: the name it gives its base model."""
    if custom_modules(adapted) is not None:
        save_custom(adapted, folder, name=base)
        return
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = base
    # "auto" would ask the hub whether the vocabulary has gr
    adapted.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # an empty card


def count_parameters(network: Any) -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are; a 4-bit layer counts its unpacked weights."""
    if is_adapted(network) and custom_modules(network) is None:
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


_WEIGHTS = "adapter_model.safetensors"
_FORMAT = 1


def custom_modules(network: Any) -> CustomModules | None:
    """Return what is hung into `network`, None if nothing is."""
    found: CustomModules | None = getattr(network, ATTRIBUTE, None)
    return found


def add_custom_modules(base: Any, adapter: Adapter) -> Any:
    """Return `base` with new modules of `adapter` hung into it, in float32 and trainable; all else is frozen.

    Raises:
        StageFailed: If the base is of an architecture that they do not fit, or the adapter's class could not be found
            again when it is loaded.
    """
    _check_findable(type(adapter))
    hung, before = CustomModules(adapter), frozenset(base.state_dict())
    with ExitStack() as undone:
        undone.callback(hung.take_off)  # where it does not fit, half of it hangs there
        support_of(adapter).hang(hung, base)
        undone.pop_all()
    base.requires_grad_(False)
    hung.requires_grad_(True)
    setattr(base, ATTRIBUTE, hung)
    hung.ignored_before = base._keys_to_ignore_on_save
    # transformers' own way to keep weights out of a checkpoint: the frozen base would be written at every one.
    base._keys_to_ignore_on_save = before
    return base


def detach_custom(base: Any) -> Any:
    """Return `base` as it was before `put_on`, but for frozen weights."""
    hung = _hung(base)
    hung.take_off()
    base._keys_to_ignore_on_save = hung.ignored_before
    delattr(base, ATTRIBUTE)
    return base


@contextmanager
def custom_switched_off(base: Any) -> Iterator[None]:
    """Let `base` compute what it computed before, for a while."""
    hung = _hung(base)
    was, hung.on = hung.on, False
    try:
        yield
    finally:
        hung.on = was


def merge_custom(base: Any) -> Any:
    """Return `base` with the update as part of its weights.

    Raises:
        StageFailed: Says why, if that is impossible.
    """
    hung = _hung(base)
    support_of(hung.declared).merge(hung, base)
    return detach_custom(base)


def save_custom(base: Any, folder: Path, *, name: str) -> None:
    """Write the modules' weights and what declares them to `folder`. name: that of the base model."""
    hung = _hung(base)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in hung.state_dict().items()}
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    kind = type(hung.declared)
    config = {
        "format": _FORMAT,
        "kind": kind.__name__,
        **({} if _is_bundled(kind) else {"declared_by": _path_of(kind)}),
        "settings": asdict(hung.declared),  # type: ignore[call-overload]
        "base_model": name,
        "base_type": base.config.model_type,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def attach_custom(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Return `base` with the adapter of `folder` hung into it.

    It has the base's dtype; where `trainable`, float32 and gradients.

    Raises:
        StageFailed: If the files cannot be read or do not fit the base.
    """
    adapter = _declared(folder)
    try:
        weights = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise _unfit(folder, f"{_WEIGHTS} cannot be read ({str(error).splitlines()[0]})") from error
    try:
        add_custom_modules(base, adapter)
    except StageFailed as error:
        raise _unfit(folder, str(error)) from error
    hung = _hung(base)
    try:
        hung.load_state_dict(weights)
    except RuntimeError as error:
        detach_custom(base)
        raise _unfit(folder, str(error).replace("\n", " ").replace("\t", "")) from error
    if not trainable:
        hung.to(base.dtype).requires_grad_(False)
    return base


def _declared(folder: Path) -> Adapter:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        written, kind, settings = config["format"], config["kind"], dict(config["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unfit(folder, f"{CONFIG} cannot be read ({type(error).__name__}: {error})") from error
    if written != _FORMAT:
        raise _unfit(folder, f"{CONFIG} is of format {written}, and this version reads format {_FORMAT}")
    found = _kind(folder, kind, config.get("declared_by"))
    try:
        declared = found(**settings)
    except (TypeError, HarnessError) as error:
        raise _unfit(folder, f"{CONFIG} declares no {kind} ({error})") from error
    return declared


def _kind(folder: Path, kind: str, path: str | None) -> type[Adapter]:
    """Return the class that declares an adapter. path: if it is, None of one that comes with the harness."""
    if path is None:
        found: object = getattr(bundled, kind, None)
    else:
        try:
            found = resolve(path)
        except HarnessError as error:
            raise _unfit(folder, f"{CONFIG} is declared by {path}, which cannot be imported here ({error})") from error
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise _unfit(folder, f"{CONFIG} declares a {kind!r}, which is no adapter")
    return found


def _is_bundled(kind: type) -> bool:
    return getattr(bundled, kind.__name__, None) is kind


def _path_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _check_findable(kind: type) -> None:
    """Raise StageFailed if the class of a user's own adapter has no name under which it is found again."""
    if _is_bundled(kind):
        return
    try:
        found: object = resolve(_path_of(kind))
    except HarnessError:
        found = None
    if found is not kind:
        raise StageFailed(
            f"{kind.__name__} is not found at {_path_of(kind)}, so what it trains could not be loaded again; "
            "declare it at the top of a module"
        )


def _unfit(folder: Path, fact: str) -> StageFailed:
    return StageFailed(
        f"the adapter in {folder} does not load onto the base model: {fact}; "
        "delete the folder and run again to tune anew"
    )


def _hung(base: Any) -> CustomModules:
    hung = custom_modules(base)
    if hung is None:
        raise StageFailed(f"{type(base).__name__} has no adapter of the harness's own on it")
    return hung
