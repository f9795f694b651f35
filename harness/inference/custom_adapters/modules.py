"""BitFit: biases and norms learn, in copies of their own that stand in for the base's while a module computes.

Adapters of two linear layers: between sublayers (Houlsby, Pfeiffer), and beside the feed-forward network (MAM).

Adapters of several kinds at once: MAM (He et al. 2022) and UniPELT (Mao et al. 2022).
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from harness.errors import StageFailed
from harness.inference.custom_adapters import prefix as prefixes
from harness.inference.custom_adapters.hooks import (
    CustomModules,
    Gate,
    ProjectionHook,
    hidden_size,
    key_shapes,
    places,
    projections,
)
from harness.recipes.adapters import MAM, AdapterSupport, BitFit, Bottleneck, UniPELT
from harness.recipes.adapters.other import narrowed
from harness.types.samples import Check

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


class BitFitSupport(AdapterSupport[BitFit]):
    """Copies of the biases, and of the norms' scales where wanted, stand in for the base's."""

    def hang(self, modules: CustomModules, base: Any) -> None:
        """See `AdapterSupport.hang`; raises StageFailed if there is nothing to train."""
        biases = norms = 0
        for place, module in list(base.named_modules()):
            wanted = {}
            for name, weight in module.named_parameters(recurse=False):
                is_bias = name.endswith("bias")
                if is_bias or (self.adapter.norms and "norm" in type(module).__name__.lower()):
                    wanted[name] = weight
                    biases, norms = biases + is_bias, norms + (not is_bias)
            if wanted:
                copies = Copies(place, wanted)
                modules.add(copies, next(iter(wanted.values())))
                modules.undone_by(module.register_forward_pre_hook(partial(_stand_in, modules, copies)))
                # Always: after an error inside the module the base has its own weights again.
                modules.undone_by(module.register_forward_hook(partial(_stand_back, copies), always_call=True))
        _check_found(type(base).__name__, self.adapter, biases, norms)
        modules.remarks = (_check(modules, biases, norms),)

    @torch.no_grad()
    def merge(self, modules: CustomModules, base: Any) -> None:
        """Write the copies into the weights of `base`."""
        for copies in modules.parts:
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


def _check(hung: CustomModules, biases: int, norms: int) -> Check:
    size = sum(weight.numel() for weight in hung.parts.parameters())
    if biases:
        detail = f"BitFit trains {biases} biases and the scales of {norms} norms, {size:,} numbers"
        return Check(name=_NAME, status="ok", detail=detail)
    detail = (
        f"the model has no bias: BitFit trains the scales of its {norms} norms alone, {size:,} numbers; LoRA() or "
        "IA3() can learn more"
    )
    return Check(name=_NAME, status="warning", detail=detail)


def _stand_in(hung: CustomModules, copies: Copies, module: nn.Module, _: tuple[Any, ...]) -> None:
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


_ACTIVATIONS = {
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


class Network(nn.Module):
    """W_up f(W_down h + b_down) + b_up. W_up and b_up start at 0, so that nothing changes at first.

    W_down starts as in LoRA and in He et al. 2022: uniform within 1 / sqrt(hidden).
    """

    def __init__(self, hidden: int, width: int, activation: str) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(hidden, width), nn.Linear(width, hidden)
        self.activation = activation
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the update, in the dtype of the weights. states: (..., hidden)."""
        inner = _ACTIVATIONS[self.activation](self.down(states.to(self.down.weight.dtype)))
        update: torch.Tensor = self.up(inner)
        return update


class Sequential(nn.Module):
    """h + g network(h), h the sublayer's output; g is 1 or a gate's value of h."""

    def __init__(self, network: Network, gate: Gate | None = None) -> None:
        super().__init__()
        self.network, self.gate = network, gate

    def forward(self, _: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """See `harness.inference.custom_adapters.hooks.Change`."""
        update = self.network(states)
        if self.gate is not None:
            update = update * self.gate(states)
        changed: torch.Tensor = states + update.to(states.dtype)
        return changed


class Parallel(nn.Module):
    """h + scale network(x), x the sublayer's input and h its output."""

    def __init__(self, network: Network, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, inputs: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """See `harness.inference.custom_adapters.hooks.Change`."""
        update: torch.Tensor = self.network(inputs) * self.scale
        return states + update.to(states.dtype)


class BottleneckSupport(AdapterSupport[Bottleneck]):
    """A sequential adapter after the feed-forward network of each layer, and for Houlsby after attention too."""

    why_not_merged = (
        "its networks have a non-linearity between the sublayers, which no weight of the base can take over"
    )

    def hang(self, modules: CustomModules, base: Any) -> None:
        """See `AdapterSupport.hang`."""
        hidden, declared = hidden_size(base), self.adapter
        width = narrowed(hidden, declared.reduction)
        for place in places(base):
            sublayers = [place.feed_forward] if declared.kind == "pfeiffer" else [place.attention, place.feed_forward]
            for sublayer in sublayers:
                part = Sequential(Network(hidden, width, declared.activation))
                modules.add(part, next(sublayer.parameters()))
                modules.after(sublayer, part)


class GatedLowRank(nn.Module):
    """y + g (alpha / rank) W_up W_down x on some columns of a projection; W_up starts at 0, g is a gate of x."""

    def __init__(self, projection: ProjectionHook, rank: int, scale: float) -> None:
        super().__init__()
        self.down = nn.Linear(projection.reads, rank, bias=False)
        self.up = nn.Linear(rank, projection.stop - projection.start, bias=False)
        self.gate = Gate(projection.reads)
        self.scale = scale
        self.margins = (projection.start, projection.writes - projection.stop)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """See `harness.inference.custom_adapters.hooks.Change`."""
        update = self.up(self.down(inputs.to(self.down.weight.dtype))) * self.gate(inputs) * self.scale
        return states + pad(update, self.margins).to(states.dtype)


class MAMSupport(AdapterSupport[MAM]):
    """A prefix in each layer's attention, and a scaled parallel adapter beside its feed-forward network."""

    why_not_merged = (
        "its prefix is attended to and its networks have a non-linearity, which no weight of the base can take over"
    )

    def hang(self, modules: CustomModules, base: Any) -> None:
        """See `AdapterSupport.hang`."""
        for place, shape in zip(places(base), key_shapes(base), strict=True):
            near = next(place.attention.parameters())
            prefix = prefixes.PrefixModule(shape, self.adapter.prefix_tokens)
            modules.add(prefix, near)
            prefixes.hang(modules, place.attention, prefix)
            beside = Parallel(Network(hidden_size(base), self.adapter.bottleneck, "relu"), self.adapter.scale)
            modules.add(beside, near)
            modules.after(place.feed_forward, beside)
        prefixes.check_prefix_seen(modules, base)


class UniPELTSupport(AdapterSupport[UniPELT]):
    """Gated low-rank updates, a gated prefix and a gated sequential adapter in each layer."""

    why_not_merged = "its gates open by the token, and no weight of the base differs from token to token"

    def hang(self, modules: CustomModules, base: Any) -> None:
        """See `AdapterSupport.hang`."""
        declared, hidden = self.adapter, hidden_size(base)
        width = narrowed(hidden, declared.reduction)
        for place, shape in zip(places(base), key_shapes(base), strict=True):
            near = next(place.attention.parameters())
            for projection in projections(base, place, shape):
                update = GatedLowRank(projection, declared.rank, declared.alpha / declared.rank)
                modules.add(update, near)
                modules.after(projection.module, update)
            prefix = prefixes.PrefixModule(shape, declared.prefix_tokens, Gate(hidden))
            modules.add(prefix, near)
            prefixes.hang(modules, place.attention, prefix)
            after = Sequential(Network(hidden, width, "relu"), Gate(hidden))
            modules.add(after, near)
            modules.after(place.feed_forward, after)
        prefixes.check_prefix_seen(modules, base)
