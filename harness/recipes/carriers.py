"""Who carries a recipe out: this package's trainer, another tuner, or several processes of ours."""

from typing import TYPE_CHECKING, Literal, get_args

from harness.recipes.adapters import Full, LoRA, QLoRA

if TYPE_CHECKING:
    from harness.recipes.sft import SFT

Backend = Literal["llamafactory", "axolotl", "unsloth"]
Sharing = Literal["ddp", "zero2", "zero3", "fsdp2"]


def check_carrier(recipe: "SFT") -> None:
    """Raise InvalidExperiment where the backend, or sharing among devices, cannot carry the recipe out."""
    recipe.check_counts(("devices",))
    if recipe.backend is not None and recipe.backend not in get_args(Backend):
        raise recipe.refused(
            f"backend={recipe.backend!r}", f"give one of {_listed(get_args(Backend))}, or leave it out"
        )
    if recipe.strategy is not None and recipe.strategy not in get_args(Sharing):
        raise recipe.refused(f"strategy={recipe.strategy!r}", f"give one of {_listed(get_args(Sharing))}")
    if recipe.strategy is not None and recipe.devices == 1:
        raise recipe.refused(f"strategy={recipe.strategy!r}", "shares among several devices; give devices=2 or more")
    if recipe.backend is not None:
        _check_backend(recipe, f"backend={recipe.backend!r}")
    elif recipe.devices > 1:
        _check_devices(recipe, f"devices={recipe.devices}")


def _check_backend(recipe: "SFT", said: str) -> None:
    if not isinstance(recipe.adapter, LoRA | QLoRA | Full):
        raise recipe.refused(
            f"adapter={recipe.adapter.name}, {said}", "it trains LoRA, QLoRA or Full; leave backend out for others"
        )
    if getattr(recipe.adapter, "init", "default") != "default":
        raise recipe.refused(
            f"adapter={recipe.adapter.name}, {said}", "its update starts at zero; leave init out, or leave backend out"
        )
    if recipe.devices > 1:
        raise recipe.refused(f"{said}, devices={recipe.devices}", "devices are shared by our own trainer; give one")


def _check_devices(recipe: "SFT", said: str) -> None:
    micro = recipe.micro_batch_size or recipe.batch_size
    if micro < recipe.devices:
        name = "batch_size" if recipe.micro_batch_size is None else "micro_batch_size"
        raise recipe.refused(
            f"{name}={micro}, {said}", f"a device would have no row of it; give {name}={recipe.devices} or more"
        )
    if recipe.sharing in ("zero3", "fsdp2") and not isinstance(recipe.adapter, LoRA | Full):
        raise recipe.refused(
            f"adapter={recipe.adapter.name}, strategy={recipe.sharing!r}",
            'only LoRA and Full have weights that can be split; give strategy="ddp"',
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
