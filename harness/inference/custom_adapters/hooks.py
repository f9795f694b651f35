"""Where in a decoder own modules can hang: its layers, their attention and feed-forward network, their projections.

A gate: how much of an adapter's work a token takes, learned from the token's own state.

What is hung into a base: own modules that take part in its forward pass, and leave no trace when taken off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from transformers import DynamicCache

from harness.errors import StageFailed
from harness.recipes.adapters import Adapter
from harness.types.samples import Check

# How transformers' decoders call the two sublayers.
_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_FEED_FORWARD = ("mlp", "feed_forward", "ffn")
_INSTEAD = "use LoRA() or BitFit() on it"


@dataclass(frozen=True, slots=True)
class Place:
    """The sublayers of one decoder layer."""

    attention: nn.Module
    feed_forward: nn.Module


@dataclass(frozen=True, slots=True)
class ProjectionHook:
    """Part of a linear layer's output. start, stop: its columns. reads, writes: width of the layer's input, output."""

    module: nn.Module
    reads: int
    start: int
    stop: int
    writes: int


def places(base: Any) -> tuple[Place, ...]:
    """Return the decoder layers of `base`, first to last.

    Raises:
        StageFailed: If the architecture is not understood: no list of layers that have an attention and a
            feed-forward module, or attention of the model's own making, which may add the residual itself.
    """
    kind = type(base).__name__
    if not getattr(base, "_supports_attention_backend", False):
        raise StageFailed(f"{kind} has attention of its own making, into which no module can be hung; {_INSTEAD}")
    lists = [module for module in base.modules() if isinstance(module, nn.ModuleList) and len(module) > 0]
    layers = max((found for found in lists if all(map(_sublayers, found))), key=len, default=None)
    if layers is None:
        children = sorted({name for found in lists for layer in found for name, _ in layer.named_children()})
        raise StageFailed(
            f"{kind} has no list of decoder layers with an attention ({', '.join(_ATTENTION)}) and a feed-forward "
            f"module ({', '.join(_FEED_FORWARD)}); its layers hold {', '.join(children) or 'nothing'}; {_INSTEAD}"
        )
    return tuple(map(_place, layers))


def hidden_size(base: Any) -> int:
    """Return the width of the states between the layers."""
    return int(base.config.get_text_config().hidden_size)


@torch.no_grad()
def read_one_token(base: Any, cache: DynamicCache | None) -> None:
    """Let `base` read one token; it may lie on the meta device, if there are shapes and no numbers."""
    nothing_masked = torch.zeros(1, 1, 1, 1, dtype=base.dtype, device=base.device)  # one that nobody looks into
    token = torch.zeros(1, 1, dtype=torch.long, device=base.device)
    base(input_ids=token, attention_mask=nothing_masked, past_key_values=cache, use_cache=cache is not None)


def key_shapes(base: Any) -> tuple[tuple[int, int], ...]:
    """Return (key heads, width) of each layer, read from the cache of one token: right whatever the config calls it."""
    cache = DynamicCache()
    read_one_token(base, cache)
    return tuple((int(layer.keys.shape[1]), int(layer.keys.shape[3])) for layer in cache.layers)


def projections(base: Any, place: Place, shape: tuple[int, int]) -> tuple[ProjectionHook, ProjectionHook]:
    """Return the projections to queries and to values of a layer. shape: its (key heads, width).

    Raises:
        StageFailed: If they cannot be told apart.
    """
    attention = place.attention
    query, value = getattr(attention, "q_proj", None), getattr(attention, "v_proj", None)
    if isinstance(query, nn.Linear) and isinstance(value, nn.Linear):
        return _whole(query), _whole(value)
    keys = shape[0] * shape[1]
    for name in ("c_attn", "qkv_proj"):  # GPT-2's and Phi-3's: all queries, then all keys, then all values
        fused = getattr(attention, name, None)
        if fused is not None:
            reads, writes = _widths(fused)
            return (
                ProjectionHook(fused, reads, 0, writes - 2 * keys, writes),
                ProjectionHook(fused, reads, writes - keys, writes, writes),
            )
    children = ", ".join(name for name, _ in attention.named_children())
    raise StageFailed(
        f"{type(base).__name__}: in {type(attention).__name__} ({children}) the projections to queries and values "
        "cannot be told apart; use MAM(), Bottleneck() or LoRA() on it"
    )


def _sublayers(layer: nn.Module) -> bool:
    children = {name for name, _ in layer.named_children()}
    return bool(children.intersection(_ATTENTION)) and bool(children.intersection(_FEED_FORWARD))


def _place(layer: nn.Module) -> Place:
    children = dict(layer.named_children())
    attention = next(children[name] for name in _ATTENTION if name in children)
    return Place(attention, next(children[name] for name in _FEED_FORWARD if name in children))


def _whole(linear: nn.Linear) -> ProjectionHook:
    return ProjectionHook(linear, linear.in_features, 0, linear.out_features, linear.out_features)


def _widths(fused: nn.Module) -> tuple[int, int]:
    if isinstance(fused, nn.Linear):
        return fused.in_features, fused.out_features
    weight = fused.weight  # GPT-2's Conv1D holds it as (in, out)
    assert isinstance(weight, torch.Tensor)
    return int(weight.shape[0]), int(weight.shape[1])


class Gate(nn.Module):
    """sigmoid(w h + b), one number a token; it starts near 1/2.

    Mao et al. 2022 average it over the text. A mean over later tokens would make a token's output depend on them, and
    an answer that is generated on its length; each token's own value does not.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the gate's values, (..., 1). states: (..., width)."""
        return torch.sigmoid(self.linear(states.to(self.linear.weight.dtype)))


# The base's attribute that holds it, and so the first word of its weights' names in a checkpoint.
ATTRIBUTE = "harness_adapter"

# Makes of a sublayer's input and output, (..., width) each, what the layer goes on with.
Change = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Removable(Protocol):
    """A change of the base that can be undone."""

    def remove(self) -> None: ...


class CustomModules(nn.Module):
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
        self.undone_by(module.register_forward_hook(partial(_after, (self, change)), with_kwargs=True))

    def undone_by(self, removable: Removable) -> None:
        """Remember how a change of the base is undone."""
        self._removable.append(removable)

    def take_off(self) -> None:
        """Undo every change of the base."""
        while self._removable:
            self._removable.pop().remove()


def _before(
    hung: CustomModules,
    look: Callable[[torch.Tensor], None],
    _: nn.Module,
    given: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    if hung.on:
        look(_input(given, named))


def _after(
    bound: tuple[CustomModules, Change], _: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any
) -> Any:
    hung, change = bound
    if not hung.on:
        return output
    if isinstance(output, tuple):
        return (change(_input(given, named), output[0]), *output[1:])
    return change(_input(given, named), output)


def _input(given: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
    states: torch.Tensor = given[0] if given else named["hidden_states"]
    return states
