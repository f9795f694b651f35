"""Whether an adapter fits a model, before a weight is loaded: on shapes alone, with the names that the model has."""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.models.loading import UNREADABLE, errors_only, no_bars, weights_folder
from harness.recipes import SFT, Trained
from harness.recipes.adapters import Adapter
from harness.training.network import add_adapter, linear_names
from harness.types.models import Model
from harness.types.protocols import Progress


def check_places(model: Model, recipe: Trained, *, progress: Progress) -> None:
    """Raise InvalidExperiment where the recipe's adapter names what `model` has not, or does not fit it.

    What cannot be told from shapes is left to training.
    """
    if recipe.adapter.whole:
        return
    base = without_numbers(model, progress=progress)
    if base is None:
        return
    said = f"{recipe.name} cannot be put on {model.name}"
    faults = list(_faults(base, recipe.adapter))
    if faults:
        raise InvalidExperiment(f"{said}: {'; '.join(faults)}")
    if recipe.makes == "reward" or (isinstance(recipe, SFT) and recipe.backend is not None):
        return  # another head, or another tuner's own placing
    try:
        with torch.device("meta"), warnings.catch_warnings(action="ignore"):
            add_adapter(base, recipe.adapter)
    except StageFailed as error:
        raise InvalidExperiment(f"{model.name}: {error}") from error
    except Exception as error:  # shapes without numbers are no ground that every method was written for
        progress.say(f"{recipe.name}: whether it fits {model.name} is seen when it is trained ({type(error).__name__})")


def without_numbers(model: Model, *, progress: Progress) -> Any | None:
    """Return the model with shapes and no weights; None if its config does not say how to make it."""
    folder = weights_folder(model, progress=progress)
    trusted = model.trust_remote_code
    with (
        suppress(*UNREADABLE),
        no_bars(),
        errors_only("transformers"),
        torch.device("meta"),
    ):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trusted, local_files_only=True)
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)
    return None


def _faults(base: Any, adapter: Adapter) -> Iterator[str]:
    modules = dict(base.named_modules())
    for field, names in adapter.module_names().items():
        unknown = [name for name in names if not any(_is(module, name) for module in modules)]
        if unknown:
            linear = field not in ("modules_to_save", "layers_pattern")
            have = linear_names(base) if linear else sorted({name.rpartition(".")[2] for name in modules if name})
            have = [name for name in have if not name.isdecimal()]
            yield f"{field} names {', '.join(map(repr, unknown))}, and the model has {', '.join(have)}"
    yield from _layer_faults(base, adapter)


def _layer_faults(base: Any, adapter: Adapter) -> Iterator[str]:
    layers = int(getattr(base.config.get_text_config(), "num_hidden_layers", 0))
    beyond = [number for number in adapter.layer_numbers() if not 0 <= number < layers]
    if beyond and layers:
        yield (
            f"layers_to_transform names {', '.join(map(str, beyond))}, and the model has {layers} layers, "
            f"0 to {layers - 1}"
        )


def _is(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")
