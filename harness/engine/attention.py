"""Attention to a shared prefix and to what is a row's own apart, merged by log-sum-exp.

Every token attends to the whole prefix, which is held once and needs no mask. Of a packed row it attends to its path
within its item, of a row of its own to what came before. Two softmaxes over disjoint keys combine exactly where each
knows the logarithm of its denominator.
"""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.masking_utils import sdpa_mask

from harness.engine.packing import Pack
from harness.weights.attention import attention_as, spread

_PACKED, _APART = "harness_packed_rows", "harness_apart_from_prefix"
# Arguments that change what attention computes, and that this one does not know.
_FOREIGN = ("sliding_window", "softcap", "s_aux", "position_bias")


class CannotShareError(Exception):
    """The model's attention is of a kind that a packed row cannot stand for."""


@dataclass(frozen=True, slots=True)
class _Shared:
    """pack: None where every row stands for itself."""

    pack: Pack | None
    prefix: DynamicCache | None


_CURRENT: ContextVar[_Shared] = ContextVar("what is computed")


def shared_attention(model: Any, pack: Pack | None, prefix: DynamicCache | None) -> AbstractContextManager[None]:
    """Let the attention of `model` see `prefix`, whose rows are one, before `pack` or before each row.

    What it was before is given back afterwards.
    """
    return attention_as(model, _APART if pack is None else _PACKED, _CURRENT, _Shared(pack, prefix))


def _attend(
    module: Any,
    query: torch.Tensor,  # (rows, heads, time, width); one row where it is packed
    key: torch.Tensor,  # (rows, key heads, own time, width)
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
    if shared.pack is not None:
        own, own_sum = _own(query, key, value, shared.pack, scale)
    elif attention_mask is None:
        raise CannotShareError
    else:
        own, own_sum = _by_row(query, key, value, attention_mask, scale)
    if shared.prefix is None:
        return own.transpose(1, 2), None
    layer = shared.prefix.layers[module.layer_idx]
    far, far_sum = _to_prefix(query, layer.keys, layer.values, scale)
    share = torch.sigmoid(own_sum - far_sum)[..., None]  # exp(own) / (exp(own) + exp(far))
    merged = own.float() * share + far.float() * (1 - share)
    return merged.to(query.dtype).transpose(1, 2), None


def _by_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend within rows. seen: (rows, 1, time, own time). Heads that share a key head stand in one row."""
    shape = query.shape
    groups = shape[1] // key.shape[1]
    # Finite, so that padding, which sees nothing, stays a number that no other token sees.
    mask = torch.zeros(seen.shape, dtype=query.dtype, device=query.device)
    mask = mask.masked_fill(~seen, torch.finfo(query.dtype).min).repeat(1, 1, groups, 1)
    answer, sums = _attention(query.reshape(shape[0], key.shape[1], -1, shape[3]), key, value, mask, scale)
    return answer.reshape(shape), sums.reshape(shape[:3])


def _own(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: Pack, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend within items. Returns (1, heads, tokens, width) and (1, heads, tokens)."""
    apart = [spread(states, pack.spread, query.shape[1]) for states in (query, key, value)]
    answer, sums = _attention(apart[0], apart[1], apart[2], pack.mask, scale)
    answer = answer.transpose(0, 1).flatten(1, 2).index_select(1, pack.gather)  # (heads, tokens, width)
    return answer[None], sums.transpose(0, 1).flatten(1, 2).index_select(1, pack.gather)[None]


def _to_prefix(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend to the prefix. All queries of the heads that share a key head stand in one row: no key is copied."""
    rows, heads, tokens, width = query.shape
    folded = query.reshape(rows, keys.shape[1], -1, width).transpose(0, 1).reshape(1, keys.shape[1], -1, width)
    answer, sums = _attention(folded, keys, values, None, scale)
    answer = answer.reshape(keys.shape[1], rows, -1, width).transpose(0, 1)
    sums = sums.reshape(keys.shape[1], rows, -1).transpose(0, 1)
    return answer.reshape(rows, heads, tokens, width), sums.reshape(rows, heads, tokens)


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


def _whole_mask(*positional: Any, **named: Any) -> Any:
    """Return the mask as booleans, also where it is plain enough to be left out."""
    return sdpa_mask(*positional, **{**named, "allow_is_causal_skip": False})


AttentionInterface.register(_PACKED, _attend)
AttentionMaskInterface.register(_PACKED, lambda *_, **__: None)
AttentionInterface.register(_APART, _attend)
AttentionMaskInterface.register(_APART, _whole_mask)
