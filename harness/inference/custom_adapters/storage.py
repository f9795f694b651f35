"""Own adapters put on a base, taken off, switched off, merged, and kept on disk as safetensors with a JSON config."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.errors import HarnessError, StageFailed
from harness.inference.custom_adapters.hooks import ATTRIBUTE, CustomModules
from harness.recipes import adapters as bundled
from harness.recipes.adapters import Adapter, support_of
from harness.types.dotted_paths import resolve

CONFIG = "harness_adapter.json"
_WEIGHTS = "adapter_model.safetensors"
_FORMAT = 1


def on(network: Any) -> CustomModules | None:
    """Return what is hung into `network`, None where nothing is."""
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

    Raises StageFailed saying why, where that is impossible.
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
    found = _kind(folder, kind, config.get("declared_by"))
    try:
        declared = found(**settings)
    except (TypeError, HarnessError) as error:
        raise _unfit(folder, f"{CONFIG} declares no {kind} ({error})") from error
    return declared


def _kind(folder: Path, kind: str, path: str | None) -> type[Adapter]:
    """Return the class that declares an adapter. path: where it is, None of one that comes with the harness."""
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
    hung = on(base)
    if hung is None:
        raise StageFailed(f"{type(base).__name__} has no adapter of the harness's own on it")
    return hung
