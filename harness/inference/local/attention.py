"""Attention to a shared prefix and to what is a pass's own apart, merged by log-sum-exp.

Every token attends to the whole prefix, which is held once and needs no mask. What it sees besides, its path in a
packed row or what its answer has so far, is the business of whoever arranged the pass. Two softmaxes over disjoint keys
combine exactly where each knows the logarithm of its denominator.
"""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache

from harness.inference.local.packing import Pack
from harness.inference.models.loading import attention_as, spread

_NAME = "harness_shared_prefix"
# Arguments that change what attention computes, and that this one does not know.
_FOREIGN = ("sliding_window", "softcap", "s_aux", "position_bias")


class CannotShareError(Exception):
    """The model's attention is of a kind that a packed row cannot stand for."""


class OwnAttention(Protocol):
    """What the tokens of a pass see besides the prefix."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return attention, (1, heads, tokens, width), and the log-sum-exp of its scores, (1, heads, tokens).

        query: (1, heads, tokens, width). key, value: (1, key heads, tokens, width), those of the pass itself.
        """
        ...


@dataclass(frozen=True, slots=True)
class Packed:
    """An `Own`: each token sees its path within its item of `pack`."""

    pack: Pack

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Own.attend`."""
        pack = self.pack
        apart = [spread(states, pack.spread, query.shape[1]) for states in (query, key, value)]
        answer, sums = attention(apart[0], apart[1], apart[2], pack.mask, scale, causal=pack.mask is None)
        answer = answer.transpose(0, 1).flatten(1, 2).index_select(1, pack.gather)  # (heads, tokens, width)
        return answer[None], sums.transpose(0, 1).flatten(1, 2).index_select(1, pack.gather)[None]


@dataclass(frozen=True, slots=True)
class _Shared:
    own: OwnAttention
    prefix: DynamicCache | None


_CURRENT: ContextVar[_Shared] = ContextVar("what is computed")


def shared_attention(model: Any, own: OwnAttention, prefix: DynamicCache | None) -> AbstractContextManager[None]:
    """Let the one row that `model` reads see `prefix`, whose rows are one, and `own`."""
    return attention_as(model, _NAME, _CURRENT, _Shared(own, prefix))


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    *,
    causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention, (rows, heads, time, width), and the log-sum-exp of its scores, (rows, heads, time), float32.

    causal: without a mask, a query sees the keys up to its own place: half the work.
    """
    if query.device.type == "cpu":
        # What scaled_dot_product_attention calls on a CPU; it alone returns the sums.
        answer, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, is_causal=causal, attn_mask=mask, scale=scale
        )
        return answer, sums
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores = scores + mask
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    sums = scores.logsumexp(-1)
    return (scores - sums[..., None]).exp().to(value.dtype) @ value, sums


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
    own, own_sum = shared.own.attend(module.layer_idx, query, key, value, scale)
    if shared.prefix is None:
        return own.transpose(1, 2), None
    layer = shared.prefix.layers[module.layer_idx]
    far, far_sum = _to_prefix(query, layer.keys, layer.values, scale)
    share = torch.sigmoid(own_sum - far_sum)[..., None]  # exp(own) / (exp(own) + exp(far))
    merged = own.float() * share + far.float() * (1 - share)
    return merged.to(query.dtype).transpose(1, 2), None


def _to_prefix(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend to the prefix. The queries of all heads that share a key head stand in one row: no key is copied."""
    heads, tokens = query.shape[1:3]
    folded = query.reshape(1, keys.shape[1], -1, query.shape[3])
    answer, sums = attention(folded, keys, values, None, scale)
    return answer.reshape(1, heads, tokens, -1), sums.reshape(1, heads, tokens)


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, lambda *_, **__: None)
