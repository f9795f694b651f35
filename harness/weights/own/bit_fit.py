"""BitFit: biases and norms learn, in copies of their own that stand in for the base's while a module computes."""

from functools import partial
from typing import Any

import torch
from torch import nn

from harness.errors import StageFailed
from harness.recipes.adapters import BitFit
from harness.samples import Check
from harness.weights.own.hung import Hung

_NAME = "trained weights"


class Copies(nn.Module):
    """Trained copies of some weights of one module of the base. place: its name there."""

    def __init__(self, place: str, originals: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.place = place
        self.copies = nn.ParameterDict(
            {name: nn.Parameter(weight.detach().float().clone()) for name, weight in originals.items()}
        )
        self.held: dict[str, nn.Parameter] = {}  # the base's own, while the copies stand in


def hang(hung: Hung, base: Any, declared: BitFit) -> None:
    """Let copies of the biases, and of the norms' scales where wanted, stand in for the base's.

    Raises StageFailed where there is none.
    """
    biases = norms = 0
    for place, module in list(base.named_modules()):
        wanted = {}
        for name, weight in module.named_parameters(recurse=False):
            is_bias = name.endswith("bias")
            if is_bias or (declared.norms and "norm" in type(module).__name__.lower()):
                wanted[name] = weight
                biases, norms = biases + is_bias, norms + (not is_bias)
        if wanted:
            copies = Copies(place, wanted)
            hung.add(copies, next(iter(wanted.values())))
            hung.undone_by(module.register_forward_pre_hook(partial(_stand_in, hung, copies)))
            # Always: after an error inside the module the base has its own weights again.
            hung.undone_by(module.register_forward_hook(partial(_stand_back, copies), always_call=True))
    _check_found(type(base).__name__, declared, biases, norms)
    hung.remarks = (_check(hung, biases, norms),)


@torch.no_grad()
def merge(hung: Hung, base: Any) -> None:
    """Write the copies into the weights of `base`."""
    for copies in hung.parts:
        assert isinstance(copies, Copies)
        module = base.get_submodule(copies.place)
        for name, weight in copies.copies.items():
            getattr(module, name).copy_(weight)


def _check_found(kind: str, declared: BitFit, biases: int, norms: int) -> None:
    if biases + norms:
        return
    if declared.norms:
        raise StageFailed(f"{kind} has neither biases nor norms with weights to train; use LoRA() on it")
    raise StageFailed(
        f"{kind} has no bias at all, so BitFit(norms=False) trains nothing; use BitFit() for its norms, or LoRA(), "
        "IA3() or PEFT(LNTuningConfig())"
    )


def _check(hung: Hung, biases: int, norms: int) -> Check:
    size = sum(weight.numel() for weight in hung.parts.parameters())
    if biases:
        detail = f"BitFit trains {biases} biases and the scales of {norms} norms, {size:,} numbers"
        return Check(name=_NAME, status="ok", detail=detail)
    detail = (
        f"the model has no bias: BitFit trains the scales of its {norms} norms alone, {size:,} numbers; LoRA() or "
        "IA3() can learn more"
    )
    return Check(name=_NAME, status="warning", detail=detail)


def _stand_in(hung: Hung, copies: Copies, module: nn.Module, _: tuple[Any, ...]) -> None:
    if not hung.on:
        return
    for name, weight in copies.copies.items():
        original = module._parameters[name]
        assert original is not None
        copies.held[name] = original
        # Not by setattr, which takes a Parameter only: a cast copy is a tensor with a past, through which it learns.
        module._parameters[name] = weight.to(original.dtype)


def _stand_back(copies: Copies, module: nn.Module, _: tuple[Any, ...], __: Any) -> None:
    for name, original in copies.held.items():
        module._parameters[name] = original
    copies.held.clear()
