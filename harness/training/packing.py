"""A training batch with what its rows share held once: an instruction or shots are computed for all rows together.

Everything but attention sees the distinct tokens in one packed row. Attention sees the rows side by side, as in a
padded batch: its share of the work is small, and within rows it needs no mask but the causal one.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from harness.inference.models.loading import attention_as, spread
from harness.inference.models.prefix_tree import token_tree
from harness.training.rows import IGNORED

# Fewer tokens saved than this share are not worth the packing.
_WORTH = 0.9
_NAME = "harness_packed"


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Where the rows of a batch lie in its packed row. spread: (rows, time), places of each row's tokens, then zeros.

    owner: (tokens,), for each packed token one place of it among the rows, flattened.
    """

    spread: torch.Tensor
    owner: torch.Tensor


_CURRENT: ContextVar[PackedRows] = ContextVar("rows of the packed batch")


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch for one forward pass.

    input_ids, position_ids: (1, tokens) where it is packed, else (rows, time) and None. mask: (rows, time) or None.
    keep: the positions whose logits are wanted. chosen: for each learned token, the place of its logits, flattened over
    rows and `keep`. targets: the learned tokens, (learned,).
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor | None
    mask: torch.Tensor | None
    keep: torch.Tensor
    chosen: torch.Tensor
    targets: torch.Tensor
    rows: PackedRows | None = None

    def logits(self, model: Any) -> torch.Tensor:
        """Return the logits of the learned tokens, (learned, vocabulary)."""
        with attention_as(model, _NAME, _CURRENT, self.rows) if self.rows else nullcontext():
            logits = model(
                input_ids=self.input_ids,
                attention_mask=self.mask,
                position_ids=self.position_ids,
                use_cache=False,
                logits_to_keep=self.keep,
            ).logits
        kept: torch.Tensor = logits.flatten(0, 1)[self.chosen]
        return kept


def padded(inputs: Mapping[str, Any]) -> Batch:
    """Return the batch as the collator made it, rows side by side."""
    targets = inputs["labels"][:, 1:]  # (rows, time - 1)
    learned = targets != IGNORED
    keep = learned.any(dim=0).nonzero().squeeze(-1)  # where any row has a token to learn
    chosen = learned[:, keep].flatten().nonzero().squeeze(-1)
    return Batch(inputs["input_ids"], None, inputs["attention_mask"], keep, chosen, targets[learned])


def packed(inputs: Mapping[str, Any]) -> Batch | None:
    """Return the batch over the tree of its sequences; None where that saves too little."""
    ids, labels, seen = inputs["input_ids"], inputs["labels"], inputs["attention_mask"].bool()
    rows = [row[here].tolist() for row, here in zip(ids, seen, strict=True)]
    answers = [row[here].tolist() for row, here in zip(labels, seen, strict=True)]
    tree = token_tree([row[:-1] for row in rows])  # the last token is only predicted
    if len(tree) > _WORTH * ids.numel():
        return None
    found = [
        (path[at - 1], token)
        for path, answer in zip(tree.paths, answers, strict=True)
        for at, token in enumerate(answer)
        if token != IGNORED and at > 0
    ]
    keep, chosen = torch.unique(torch.tensor([place for place, _ in found], device=ids.device), return_inverse=True)
    return Batch(
        input_ids=torch.tensor([tree.tokens], device=ids.device),
        position_ids=torch.tensor([tree.depths], device=ids.device),
        mask=None,
        keep=keep,
        chosen=chosen,
        targets=torch.tensor([token for _, token in found], device=ids.device),
        rows=_rows(tree.paths, len(tree), ids.device),
    )


def _rows(paths: tuple[tuple[int, ...], ...], tokens: int, device: torch.device) -> PackedRows:
    width = max(map(len, paths))
    places = torch.stack([pad(torch.tensor(path), (0, width - len(path))) for path in paths])
    owner = torch.empty(tokens, dtype=torch.long)
    for row, path in enumerate(paths):
        owner[list(path)] = torch.arange(row * width, row * width + len(path))
    return PackedRows(places.to(device), owner.to(device))


def _attend(
    module: Any,
    query: torch.Tensor,  # (1, heads, tokens, width)
    key: torch.Tensor,  # (1, key heads, tokens, width)
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    rows = _CURRENT.get()
    query, key, value = (spread(states, rows.spread, query.shape[1]) for states in (query, key, value))
    if query.device.type == "cpu":
        answer = _plain(query, key, value, scaling, dropout)
    else:
        answer = scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True, scale=scaling)
    flat = answer.transpose(1, 2).flatten(0, 1)  # (rows x time, heads, width)
    return flat.index_select(0, rows.owner)[None], None


def _plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, dropout: float
) -> torch.Tensor:
    """Attend by plain products: on a CPU the backward pass of torch's flash kernel takes up to 6 times as long."""
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.transpose(-1, -2)
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    weights = scores.masked_fill(later, float("-inf")).softmax(-1, dtype=torch.float32).to(value.dtype)
    return torch.dropout(weights, dropout, train=dropout > 0) @ value


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, lambda *_, **__: None)
