"""What is hung into a base: own modules that take part in its forward pass, and leave no trace when taken off."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from harness.recipes.adapters import Adapter
from harness.samples import Check

# The base's attribute that holds it, and so the first word of its weights' names in a checkpoint.
ATTRIBUTE = "harness_adapter"

# Makes of a sublayer's input and output, (..., width) each, what the layer goes on with.
Change = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Removable(Protocol):
    """A change of the base that can be undone."""

    def remove(self) -> None: ...


class Hung(nn.Module):
    """Own modules on a base. parts: they, in the order of the layers. on: whether they take part.

    Hooks hold modules and no closures: a copied base has copied modules hung into it, not the original's.
    """

    def __init__(self, declared: Adapter) -> None:
        super().__init__()
        self.declared = declared
        self.on = True
        self.parts = nn.ModuleList()
        self.remarks: tuple[Check, ...] = ()
        self.attends = False  # whether attention itself is changed
        self.ignored_before: Any = None  # what the base kept out of its checkpoints
        self._removable: list[Removable] = []

    def add(self, part: nn.Module, near: torch.Tensor) -> None:
        """Take in `part`, in float32 on the device of `near`, a weight of the base beside which it works."""
        self.parts.append(part.to(device=near.device, dtype=torch.float32))

    def before(self, module: nn.Module, look: Callable[[torch.Tensor], None]) -> None:
        """Show `look` the input of `module`."""
        self.undone_by(module.register_forward_pre_hook(partial(_before, self, look), with_kwargs=True))

    def after(self, module: nn.Module, change: Change) -> None:
        """Let `change` make the output of `module`."""
        self.undone_by(module.register_forward_hook(partial(_after, self, change), with_kwargs=True))

    def undone_by(self, removable: Removable) -> None:
        """Remember how a change of the base is undone."""
        self._removable.append(removable)

    def take_off(self) -> None:
        """Undo every change of the base."""
        while self._removable:
            self._removable.pop().remove()


def _before(
    hung: Hung, look: Callable[[torch.Tensor], None], _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    if hung.on:
        look(_input(given, named))


def _after(hung: Hung, change: Change, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
    if not hung.on:
        return output
    if isinstance(output, tuple):
        return (change(_input(given, named), output[0]), *output[1:])
    return change(_input(given, named), output)


def _input(given: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
    states: torch.Tensor = given[0] if given else named["hidden_states"]
    return states
