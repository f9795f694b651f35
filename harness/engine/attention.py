"""Attention of a packed row: to the shared prefix and to the own item apart, merged by log-sum-exp.

Every packed token attends to the whole prefix, which is held once and needs no mask; within its item it attends to
its path. Two softmaxes over disjoint keys combine exactly where each knows the logarithm of its denominator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache

from harness.engine.packing import Pack

_NAME = "harness_shared"
# Arguments that change what attention computes, and that this one does not know.
_FOREIGN = ("sliding_window", "softcap", "s_aux", "position_bias")


class CannotShareError(Exception):
    """The model's attention is of a kind that a packed row cannot stand for."""


@dataclass(frozen=True, slots=True)
class _Shared:
    pack: Pack
    prefix: DynamicCache | None


_CURRENT: ContextVar[_Shared] = ContextVar("the pack that is computed")


@contextmanager
def shared_attention(model: Any, pack: Pack, prefix: DynamicCache | None) -> Iterator[None]:
    """Let the attention of `model` compute `pack` after `prefix`, whose rows are one; it is given back afterwards."""
    config = model.config.get_text_config()
    before, token = config._attn_implementation, _CURRENT.set(_Shared(pack, prefix))
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _CURRENT.reset(token)


def _attend(
    module: Any,
    query: torch.Tensor,  # (1, heads, tokens, width)
    key: torch.Tensor,  # (1, key heads, tokens, width)
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    if any(others.get(name) is not None for name in _FOREIGN):
        raise CannotShareError
    shared = _CURRENT.get()
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    own, own_sum = _own(query, key, value, shared.pack, scale)
    if shared.prefix is None:
        return own.transpose(1, 2), None
    layer = shared.prefix.layers[module.layer_idx]
    far, far_sum = _to_prefix(query, layer.keys, layer.values, scale)
    share = torch.sigmoid(own_sum - far_sum)[..., None]  # exp(own) / (exp(own) + exp(far))
    merged = own.float() * share + far.float() * (1 - share)
    return merged.to(query.dtype).transpose(1, 2), None


def _own(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: Pack, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend within items. Returns (1, heads, tokens, width) and (1, heads, tokens)."""
    spread = [_spread(states, pack, query.shape[1]) for states in (query, key, value)]
    answer, sums = _attention(spread[0], spread[1], spread[2], pack.mask, scale)
    answer = answer.transpose(0, 1).flatten(1, 2).index_select(1, pack.gather)  # (heads, tokens, width)
    return answer[None], sums.transpose(0, 1).flatten(1, 2).index_select(1, pack.gather)[None]


def _spread(states: torch.Tensor, pack: Pack, heads: int) -> torch.Tensor:
    """Return (1, key heads, tokens, width) as (items, heads, longest, width)."""
    apart = states[0].index_select(1, pack.spread.flatten())
    apart = apart.view(states.shape[1], *pack.spread.shape, -1).transpose(0, 1)
    return apart.repeat_interleave(heads // states.shape[1], dim=1)


def _to_prefix(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend to the prefix. The queries of heads that share a key head stand in one row, so that no key is copied."""
    _, heads, tokens, width = query.shape
    folded = query.reshape(1, keys.shape[1], -1, width)
    answer, sums = _attention(folded, keys, values, None, scale)
    return answer.reshape(1, heads, tokens, width), sums.reshape(1, heads, tokens)


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention, (rows, heads, time, width), and the log-sum-exp of its scores, (rows, heads, time), float32."""
    if query.device.type == "cpu":
        # What scaled_dot_product_attention calls on a CPU; it alone returns the sums.
        answer, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=mask, scale=scale
        )
        return answer, sums
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores = scores + mask
    sums = scores.logsumexp(-1)
    return (scores - sums[..., None]).exp().to(value.dtype) @ value, sums


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, lambda *_, **__: None)
