"""A training batch as one packed row: what its rows share is computed once, and nothing is padded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from harness.tuning.rows import IGNORED
from harness.weights.tree import token_tree

# Attention within a packed row grows with its square; past this the padded batch is the cheaper one.
_LONGEST = 1024
# Fewer tokens saved than this share are not worth the packing.
_WORTH = 0.95


@dataclass(frozen=True, slots=True)
class Packed:
    """One batch for one forward pass.

    input_ids, position_ids: (1, tokens) or (rows, time). mask: (1, 1, tokens, tokens) of booleans, or (rows, time).
    keep: the positions whose logits are wanted. chosen: for each learned token, the place of its logits, flattened over
    rows and `keep`. targets: the learned tokens, (learned,).
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor | None
    mask: torch.Tensor
    keep: torch.Tensor
    chosen: torch.Tensor
    targets: torch.Tensor

    def attention_mask(self, dtype: torch.dtype) -> torch.Tensor:
        """Return `mask` as the model takes it: a packed row's is added to the scores, in `dtype`."""
        if self.mask.ndim == 2:
            return self.mask
        hidden = torch.finfo(dtype).min
        return torch.zeros(self.mask.shape, dtype=dtype, device=self.mask.device).masked_fill(~self.mask, hidden)


def padded(inputs: Mapping[str, Any]) -> Packed:
    """Return the batch as the collator made it, rows side by side."""
    targets = inputs["labels"][:, 1:]  # (rows, time - 1)
    learned = targets != IGNORED
    keep = learned.any(dim=0).nonzero().squeeze(-1)  # where any row has a token to learn
    chosen = learned[:, keep].flatten().nonzero().squeeze(-1)
    return Packed(inputs["input_ids"], None, inputs["attention_mask"], keep, chosen, targets[learned])


def packed(inputs: Mapping[str, Any]) -> Packed | None:
    """Return the batch as one row over the tree of its sequences; None where that saves too little or is too long."""
    ids, labels, seen = inputs["input_ids"], inputs["labels"], inputs["attention_mask"].bool()
    rows = [row[here].tolist() for row, here in zip(ids, seen, strict=True)]
    answers = [row[here].tolist() for row, here in zip(labels, seen, strict=True)]
    tree = token_tree([row[:-1] for row in rows])  # the last token is only predicted
    if len(tree) > min(_LONGEST, _WORTH * ids.numel()):
        return None
    found = [
        (path[at - 1], token)
        for path, answer in zip(tree.paths, answers, strict=True)
        for at, token in enumerate(answer)
        if token != IGNORED and at > 0
    ]
    places = torch.tensor([place for place, _ in found], device=ids.device)
    keep, chosen = torch.unique(places, return_inverse=True)
    return Packed(
        input_ids=torch.tensor([tree.tokens], device=ids.device),
        position_ids=torch.tensor([tree.depths], device=ids.device),
        mask=tree.visible(ids.device)[None, None],
        keep=keep,
        chosen=chosen,
        targets=torch.tensor([token for _, token in found], device=ids.device),
    )
