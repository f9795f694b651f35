"""Keys and values that every token sees besides the text: free weights of each layer, which take no position.

They are attended to inside the layer, beside the text's keys, and stand in no cache and no mask: padding, batches and
cached generation cannot move them. Source: Li and Liang 2021; without reparametrisation as in P-tuning v2 (Liu 2022).
"""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from harness.errors import StageFailed
from harness.inference.custom_adapters.hooks import CustomModules, Gate, read_one_token

_NAME = "harness_own_prefix"
# Attention whose masks are understood here.
_READ = ("sdpa", "eager")
# Arguments that change what attention computes, and that this one does not know.
_FOREIGN = ("softcap", "s_aux", "position_bias")
_SPREAD = 0.02


class ForeignAttentionError(StageFailed, ValueError):
    """The attention in use cannot see a prefix. A ValueError too, as that of any model that refuses a packed row."""


class PrefixModule(nn.Module):
    """keys, values: (key heads, tokens, width), small random numbers at first. gate: makes a token's share of them."""

    def __init__(self, shape: tuple[int, int], tokens: int, gate: Gate | None = None) -> None:
        super().__init__()
        heads, width = shape
        self.keys = nn.Parameter(torch.randn(heads, tokens, width) * _SPREAD)
        self.values = nn.Parameter(torch.randn(heads, tokens, width) * _SPREAD)
        self.gate = gate
        self.opened: torch.Tensor | None = None  # the gate's values in the present pass, (rows, time, 1)
        self.seen = False  # whether attention ever asked

    def look(self, states: torch.Tensor) -> None:
        """Let the gate see the layer's input, (rows, time, hidden)."""
        if self.gate is not None:
            self.opened = self.gate(states)


def hang(hung: CustomModules, attention: nn.Module, prefix: PrefixModule) -> None:
    """Let `attention` see `prefix`.

    Raises:
        StageFailed: If the attention module has no config that names its kernel.
    """
    if not hasattr(getattr(attention, "config", None), "_attn_implementation"):
        raise StageFailed(f"{type(attention).__name__} does not look up its attention function; use Bottleneck() on it")
    hung.attends = True
    hung.before(attention, prefix.look)
    hung.undone_by(_StandIn(hung, attention, prefix))


def check_prefix_seen(hung: CustomModules, base: Any) -> None:
    """Raise StageFailed where a layer of `base` does not see its prefix."""
    prefixes = [part for part in hung.parts if isinstance(part, PrefixModule)]
    read_one_token(base, None)
    blind = sum(not prefix.seen for prefix in prefixes)
    if blind:
        raise StageFailed(
            f"{blind} of {len(prefixes)} layers of {type(base).__name__} do not see a prefix; use Bottleneck() on it"
        )


class _StandIn:
    """The config that an attention module finds: the model's own, but for the name of the attention function.

    Only the module's is another. Whoever changes the model's finds his choice used by everything else, and here what
    reads masks of that choice, or an error: the prefix is never lost silently.
    """

    def __init__(self, hung: CustomModules, attention: nn.Module, prefix: PrefixModule) -> None:
        self.hung, self.attention, self.prefix = hung, attention, prefix
        self.config: Any = attention.config
        attention.config = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "config" not in self.__dict__:
            raise AttributeError(name)  # while it is copied
        return getattr(self.config, name)

    @property
    def _attn_implementation(self) -> str:
        return _NAME if self.hung.on else str(self.config._attn_implementation)

    def remove(self) -> None:
        """Give the module its own config back."""
        self.attention.config = self.config


def _attend(
    module: Any,
    query: torch.Tensor,  # (rows, heads, time, width)
    key: torch.Tensor,  # (rows, key heads, seen, width)
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    prefix, opened = _opened(module, others)
    groups = query.shape[1] // key.shape[1]
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    near = query @ key.repeat_interleave(groups, dim=1).transpose(-1, -2)  # (rows, heads, time, seen)
    near = _masked(near, attention_mask)
    far = query @ prefix.keys.to(query.dtype).repeat_interleave(groups, dim=0).transpose(-1, -2)
    if opened is not None:
        far = far * opened.to(far.dtype)
    weights = torch.cat([far, near], dim=-1).softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    weights = torch.dropout(weights, dropout, train=dropout > 0)
    tokens = far.shape[-1]
    answer = weights[..., :tokens] @ prefix.values.to(value.dtype).repeat_interleave(groups, dim=0)
    if opened is not None:
        answer = answer * opened.to(answer.dtype)
    answer = answer + weights[..., tokens:] @ value.repeat_interleave(groups, dim=1)
    return answer.transpose(1, 2).contiguous(), None


def _opened(module: Any, others: dict[str, Any]) -> tuple[PrefixModule, torch.Tensor | None]:
    """Return the module's prefix, and its gate's values, (rows, 1, time, 1)."""
    stand_in = module.config
    kernel = stand_in.config._attn_implementation
    if kernel not in _READ:
        raise ForeignAttentionError(f"attention {kernel} cannot see a prefix; use {' or '.join(_READ)}")
    foreign = [name for name in _FOREIGN if others.get(name) is not None]
    if foreign:
        raise ForeignAttentionError(
            f"{type(module).__name__} attends with {', '.join(foreign)}, beside which no prefix can be put; "
            "use Bottleneck() or LoRA() on it"
        )
    prefix: PrefixModule = stand_in.prefix
    opened, prefix.opened, prefix.seen = prefix.opened, None, True
    return prefix, None if opened is None else opened[:, None]


def _masked(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return scores, (rows, heads, time, seen), without what is not seen. No mask is the causal one."""
    if mask is None:
        time, seen = scores.shape[-2:]
        later = torch.ones(time, seen, dtype=torch.bool, device=scores.device).triu(1 + seen - time)
        return scores.masked_fill(later, float("-inf"))
    if mask.dtype is torch.bool:
        return scores.masked_fill(~mask, float("-inf"))
    return scores + mask.to(scores.dtype)


AttentionInterface.register(_NAME, _attend)
