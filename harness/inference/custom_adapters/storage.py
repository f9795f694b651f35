"""Own adapters put on a base, taken off, switched off, merged, and kept on disk as safetensors with a JSON config."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.errors import HarnessError, StageFailed
from harness.inference.custom_adapters import modules
from harness.inference.custom_adapters.hooks import ATTRIBUTE, CustomModules
from harness.recipes.adapters import MAM, Adapter, BitFit, Bottleneck, UniPELT

CONFIG = "harness_adapter.json"
_WEIGHTS = "adapter_model.safetensors"
_FORMAT = 1
_KINDS: Mapping[type, Callable[[CustomModules, Any, Any], None]] = {
    Bottleneck: modules.hang_bottleneck,
    MAM: modules.hang_mam,
    UniPELT: modules.hang_unipelt,
    BitFit: modules.hang_biases,
}
_NO_MERGE = {
    Bottleneck: "its networks have a non-linearity between the sublayers, which no weight of the base can take over",
    MAM: "its prefix is attended to and its networks have a non-linearity, which no weight of the base can take over",
    UniPELT: "its gates open by the token, and no weight of the base differs from token to token",
}


def carries(adapter: Adapter) -> bool:
    """Tell whether `adapter` is of the harness's own modules."""
    return type(adapter) in _KINDS


def on(network: Any) -> CustomModules | None:
    """Return what is hung into `network`, None where nothing is."""
    found: CustomModules | None = getattr(network, ATTRIBUTE, None)
    return found


def add_custom_modules(base: Any, adapter: Adapter) -> Any:
    """Return `base` with new modules of `adapter` hung into it, in float32 and trainable; all else is frozen.

    Raises StageFailed where the base is of an architecture that they do not fit.
    """
    hung, before = CustomModules(adapter), frozenset(base.state_dict())
    with ExitStack() as undone:
        undone.callback(hung.take_off)  # where it does not fit, half of it hangs there
        _KINDS[type(adapter)](hung, base, adapter)
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

    Raises StageFailed saying why, where that is impossible.
    """
    hung = _hung(base)
    kind = type(hung.declared)
    if kind is not BitFit:
        raise StageFailed(f"{kind.__name__} cannot be merged: {_NO_MERGE[kind]}")
    modules.merge_biases(hung, base)
    return detach_custom(base)


def save_custom(base: Any, folder: Path, *, name: str) -> None:
    """Write the modules' weights and what declares them to `folder`. name: that of the base model."""
    hung = _hung(base)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in hung.state_dict().items()}
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    config = {
        "format": _FORMAT,
        "kind": type(hung.declared).__name__,
        "settings": asdict(hung.declared),  # type: ignore[call-overload]
        "base_model": name,
        "base_type": base.config.model_type,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def attach_custom(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Return `base` with the adapter of `folder` hung into it.

    It has the base's dtype; where `trainable`, float32 and gradients.

    Raises StageFailed where the files cannot be read or do not fit the base.
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
    known = {found.__name__: found for found in _KINDS}
    if kind not in known:
        raise _unfit(folder, f"{CONFIG} declares a {kind!r}, which is none of {', '.join(known)}")
    try:
        declared: Adapter = known[kind](**settings)
    except (TypeError, HarnessError) as error:
        raise _unfit(folder, f"{CONFIG} declares no {kind} ({error})") from error
    return declared


def _unfit(folder: Path, fact: str) -> StageFailed:
    return StageFailed(
        f"the adapter in {folder} does not load onto the base model: {fact}; "
        "delete the folder and run again to tune anew"
    )


def _hung(base: Any) -> CustomModules:
    hung = on(base)
    if hung is None:
        raise StageFailed(f"{type(base).__name__} has no adapter of the harness's own on it")
    return hung
